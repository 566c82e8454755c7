"""Plain values become dataclasses, or one line names the one that cannot."""

from dataclasses import dataclass, field

import pytest

from stage.errors import StageError
from stage.typed import build, check_range


@dataclass(frozen=True)
class Inner:
    size: int = 2
    share: float | None = 0.5

    def __post_init__(self):
        check_range(self, size=(1, 8), share=(0, 1))


@dataclass(frozen=True)
class Outer:
    name: str
    names: tuple[str, ...] = ()
    pair: tuple[int, float] = (1, 2.0)
    on: bool = False
    inner: Inner = field(default_factory=Inner)
    shares: dict[str, float] = field(default_factory=dict)


def test_values_of_json_and_yaml_are_taken():
    values = {"name": 16, "names": ["a", "b"], "pair": [3, "1e-5"], "on": True, "inner": {"size": 8, "share": None}}
    assert build(Outer, values, "file") == Outer("16", ("a", "b"), (3, 1e-5), True, Inner(8, None))
    assert isinstance(build(Inner, {"share": 1}, "file").share, float)
    assert build(Outer, {"name": "x", "shares": {"a": 1, 2: "1e-5"}}, "file").shares == {"a": 1.0, "2": 1e-5}


@pytest.mark.parametrize(
    "values, message",
    [
        ({}, "^f: the file lacks name$"),
        ([], "the file is a section with keys, not "),
        ({"name": None}, "'name' is text, not None"),
        ({"name": "x", "nam": 1}, "unknown key 'nam'; did you mean 'name'"),
        ({"name": "x", "size": 1}, "unknown key 'size'; did you mean 'inner.size'"),
        ({"name": "x", "names": "ab"}, "'names' is a list, not 'ab'"),
        ({"name": "x", "names": [1, []]}, "'names' is text"),
        ({"name": "x", "pair": [1]}, "'pair' holds 2 values, not 1"),
        ({"name": "x", "on": 1}, "'on' is a value of kind bool, not 1"),
        ({"name": "x", "on": "false"}, "'on' is a value of kind bool, not 'false'"),
        ({"name": "x", "shares": [1]}, "'shares' is a section with keys, not "),
        ({"name": "x", "shares": {"a": "b"}}, "'shares.a' is a value of kind float, not 'b'"),
        ({"name": "x", "inner": []}, "'inner' is a section"),
        ({"name": "x", "inner": {"size": True}}, "'inner.size' is a value of kind int, not True"),
        ({"name": "x", "inner": {"size": 1e9}}, "'inner.size' is a value of kind int"),
        ({"name": "x", "inner": {"size": 9}}, "size is 9: choose a value from 1 to 8"),
        ({"name": "x", "inner": {"share": float("nan")}}, "share is nan"),
        ({"name": "x", "inner": {"share": 10**400}}, "'inner.share' is a value of kind float"),
        ({"name": "x", "inner": {"share": 10**9000}}, "'inner.share' is a value of kind float"),
    ],
)
def test_what_cannot_be_taken_is_one_line(values, message):
    with pytest.raises(StageError, match=message) as error:
        build(Outer, values, "f")
    assert "\n" not in str(error.value) and len(str(error.value)) < 300
