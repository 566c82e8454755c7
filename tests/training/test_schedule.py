"""Learning rates and lengths of a training."""

import pytest

from stage.errors import StageError
from stage.training.schedule import LinearSchedule, Schedule


def test_linear_warms_up_and_falls_by_steps_or_minutes():
    schedule = LinearSchedule(steps=100, warmup=10, decay=0.5, floor=0.1).within(1.0)
    assert schedule.factor(0, 0) == pytest.approx(0.1)
    assert schedule.factor(20, 0) == 1.0
    assert schedule.factor(75, 0) == pytest.approx(0.5)
    assert schedule.factor(20, 45) == pytest.approx(0.5)
    assert schedule.factor(20, 60) == pytest.approx(0.1) and schedule.progress(20, 60) == 1


@pytest.mark.parametrize("minutes", [0.0, -1.0, float("nan")])
def test_minutes_that_cannot_be_are_one_line(minutes):
    with pytest.raises(StageError, match="--minutes is a number above 0"):
        LinearSchedule().within(minutes)


def test_cosine_warms_up_and_falls_to_its_floor():
    schedule = Schedule(steps=100, kind="cosine", warmup=10, floor=0.1)
    assert [schedule.factor(step) for step in (0, 9, 10, 55, 100)] == pytest.approx([0.1, 1.0, 1.0, 0.55, 0.1])
    assert Schedule().factor(12345) == 1.0


@pytest.mark.parametrize(
    "values, message",
    [
        ({"steps": 0}, "steps is a number above 0"),
        ({"hours": float("nan")}, "hours is a number above 0"),
        ({"warmup": -1}, "warmup is a number from 0 on"),
        ({"floor": 2.0}, "floor is a share"),
        ({"kind": "steps"}, "schedule.kind is one of constant, cosine, linear"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Schedule(**values)
