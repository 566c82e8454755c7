"""Recording steps on a GPU, with PyTorch's CUDA replaced by a record of the calls."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from stage.models import fast_step


@pytest.fixture
def cuda(monkeypatch):
    """The current GPU at each call."""
    record, current = [], [0]

    @contextmanager
    def device(wanted):
        before, current[0] = current[0], wanted.index or 0
        yield
        current[0] = before

    @contextmanager
    def within(*_):
        yield

    def call(name):
        record.append((name, current[0]))
        return SimpleNamespace(wait_stream=lambda other: None, replay=lambda: record.append(("replay", current[0])))

    monkeypatch.setattr(torch.cuda, "device", device)
    monkeypatch.setattr(torch.cuda, "stream", within)
    monkeypatch.setattr(torch.cuda, "Stream", lambda: call("stream"))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: call("current stream"))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: call("graph"))
    monkeypatch.setattr(torch.cuda, "graph", within)
    return record


def test_steps_are_recorded_and_replayed_on_the_gpu_of_the_decoder(cuda):
    class OnSecond:
        """A tensor, as far as the recording asks, on the second GPU."""

        device = torch.device("cuda", 1)

        def clone(self):
            return self

        def copy_(self, other):
            return self

    columns, calls = OnSecond(), []

    def step(*arguments):
        cuda.append(("step", None))
        calls.append(arguments)
        return "logits"

    graph = fast_step.StepGraph(step, columns, OnSecond(), None, [])
    assert graph(columns, OnSecond()) == "logits" and len(calls) == fast_step.WARM_UP + 1
    assert {name for name, _ in cuda} == {"stream", "current stream", "graph", "replay", "step"}
    assert {gpu for name, gpu in cuda if name != "step"} == {1}
