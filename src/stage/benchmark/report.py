"""The benchmark's lines and tables: every measurement, and every figure beside what is asked of it.

``found`` holds the measurements by name; one that failed is {"failed": why}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Failed(Exception):
    """A figure's measurement was tried and failed."""


FRAMES_A_SECOND = 50
STEPS = 503
"""Steps of a ten-second stem of MusicGen's codec: 500 frames, and the delay of its codebooks."""


def rows(found: dict[str, Any]) -> list[list[str]]:
    """Measurements of steps: name, steps/s, seconds of audio a second, prefill, peak memory, share of the memory's
    limit."""
    table = []
    for name, value in found.items():
        if not isinstance(value, dict) or "steps_per_second" not in value:
            continue
        many = int(name.rpartition(" x")[2]) if " x" in name else 1
        share = limit(found, name)
        table.append(
            [
                name,
                f"{value['steps_per_second']:.1f}",
                f"{many * value['steps_per_second'] / FRAMES_A_SECOND:.2f}",
                f"{value['prefill_seconds']:.2f}",
                f"{value['peak_gb']:.2f}",
                "" if share is None else f"{share:.0%}",
            ]
        )
    return table


def limit(found: dict[str, Any], name: str) -> float | None:
    """How near a measurement comes to reading its weights and caches as fast as the memory can: 0..1."""
    value, memory = found.get(name, {}), found.get("bandwidth", {})
    if "bytes_per_second" not in memory or "bytes_per_step" not in value:
        return None
    return value["bytes_per_step"] / memory["bytes_per_second"] * value["steps_per_second"]


def measurement(found: dict[str, Any], name: str) -> dict[str, Any]:
    """A measurement by its name. Raises KeyError where it was not run, Failed where it failed."""
    if "failed" in found[name]:
        raise Failed(name)
    return found[name]


def faster(found: dict[str, Any], kind: str) -> str:
    """Of the engines' measurements of one kind ("int8", "int8 x8") the faster one's name. Raises KeyError where none
    was run, Failed where all that were run failed."""
    names = [name for name in (f"torch {kind}", f"openvino {kind}") if name in found]
    if not names:
        raise KeyError(kind)
    done = [name for name in names if "failed" not in found[name]]
    if not done:
        raise Failed(kind)
    return max(done, key=lambda name: found[name]["steps_per_second"])


def figures(found: dict[str, Any]) -> list[tuple[str, float | None, str, float]]:
    """What is asked: (name, measured, "at least" or "at most", asked), where it was run; measured is None where that
    failed."""

    def of(name: str) -> dict[str, Any]:
        return measurement(found, name)

    def speed(name: str) -> float:
        return of(name)["steps_per_second"]

    def ours(precision: str) -> float:
        return speed(faster(found, precision))

    def share(precision: str) -> float | None:
        ours(precision), of("bandwidth")
        return limit(found, faster(found, precision))

    many = found["variations"]
    wanted: list[tuple[str, Callable[[], float | None], str, float]] = [
        ("bf16 / transformers bf16", lambda: ours("bf16") / speed("transformers bf16"), "at least", 1.6),
        ("int8 / transformers bf16", lambda: ours("int8") / speed("transformers bf16"), "at least", 4),
        ("int8 / transformers float32", lambda: ours("int8") / speed("transformers float32"), "at least", 6),
        ("int8, openvino / torch", lambda: speed("openvino int8") / speed("torch int8"), "at least", 1),
        ("int4, openvino / torch", lambda: speed("openvino int4") / speed("torch int4"), "at least", 1),
        ("int8, steps a second", lambda: ours("int8"), "at least", FRAMES_A_SECOND),
        ("int4, steps a second", lambda: ours("int4"), "at least", 65),
        ("int8, share of the memory's limit", lambda: share("int8"), "at least", 0.65),
        (
            "whole job of 10 s, best precision, seconds",
            lambda: min(of(f"job {precision}")["seconds"] for precision in ("int8", "int4")),
            "at most",
            10,
        ),
        (f"{many} variations / {many} single runs", lambda: _shared(found, many), "at most", 0.35),
        ("peak memory of the job, int8, GB", lambda: of("job int8")["peak_gb"], "at most", 1.8),
        ("first audio, small size, int8, seconds", lambda: of("first int8")["seconds"], "at most", 2),
        ("first audio, sketch, seconds", lambda: of("first sketch")["seconds"], "at most", 0.5),
        ("sketch, 10 s of drums, seconds", lambda: of("job sketch")["seconds"], "at most", 0.8),
        ("first audio, player, seconds", lambda: of("first player")["seconds"], "at most", 0.4),
        ("player, 10 s of drums, seconds", lambda: of("job player")["seconds"], "at most", 0.8),
        ("KL of int8, sketch", lambda: of("quality int8")["kl"], "at most", 0.01),
        ("KL of int4, sketch", lambda: of("quality int4")["kl"], "at most", 0.05),
        ("KL of int8, sketch, openvino", lambda: of("quality int8 openvino")["kl"], "at most", 0.01),
        ("KL of int4, sketch, openvino", lambda: of("quality int4 openvino")["kl"], "at most", 0.05),
        *(
            (
                f"{what} of {p} below float32's, in its noise",
                lambda p=p, what=what: _loss(found, p, what),
                "at most",
                2.0,
            )
            for p in ("int8", "int4", "int8 openvino", "int4 openvino")
            for what in ("beats", "chords")
        ),
    ]
    made = []
    for name, measure, sense, asked in wanted:
        try:
            value = measure()
            if value is None:
                continue
        except KeyError:  # that part was not run
            continue
        except Failed:
            value = None
        made.append((name, value, sense, asked))
    return made


def _shared(found: dict[str, Any], many: int) -> float:
    """Time of many variations, prefill included, against as many single runs."""

    def seconds(name: str) -> float:
        one = measurement(found, name)
        return one["prefill_seconds"] + STEPS / one["steps_per_second"]

    return seconds(faster(found, f"int8 x{many}")) / (many * seconds(faster(found, "int8")))


def _loss(found: dict[str, Any], precision: str, what: str) -> float:
    """How far a figure of the music lies below float32's, in standard errors of the difference."""
    exact, low = measurement(found, "quality float32"), measurement(found, f"quality {precision}")
    noise = (exact[f"{what}_noise"] ** 2 + low[f"{what}_noise"] ** 2) ** 0.5
    return (exact[what] - low[what]) / max(noise, 1e-9)


def failures(found: dict[str, Any]) -> dict[str, str]:
    """The measurements that failed, with what they ended with."""
    return {name: value["failed"] for name, value in found.items() if isinstance(value, dict) and "failed" in value}


def _verdict(value: float | None, sense: str, asked: float) -> tuple[str, str]:
    """A figure as text, and whether it is as asked."""
    if value is None:
        return "not measured", "FAIL"
    return f"{value:.4g}", "pass" if (value >= asked if sense == "at least" else value <= asked) else "FAIL"


def lines(found: dict[str, Any], name: str) -> list[str]:
    """A measurement that has just been added, and the figures that it completes, one a line."""
    if "failed" in found[name]:
        return [f"{name}: failed: {found[name]['failed']}"]
    values = ", ".join(f"{key} {value:.4g}" for key, value in found[name].items() if isinstance(value, (int, float)))
    before = {figure for figure, *_ in figures({key: value for key, value in found.items() if key != name})}
    new = [one for one in figures(found) if one[0] not in before]
    made = [f"{name}: {values}"]
    for figure, value, sense, asked in new:
        measured, verdict = _verdict(value, sense, asked)
        made.append(f"  {figure}: {measured}, {sense} {asked:g}: {verdict}")
    return made


def print_tables(found: dict[str, Any]) -> None:
    """Print the tables in Markdown, for docs/speed.md."""
    if steps := rows(found):
        print(
            "\n| decoder, MusicGen-small size | steps/s | audio s/s | prefill s | peak GB | of the limit |\n| --- | ---"
            " | --- | --- | --- | --- |"
        )
        for row in steps:
            print(f"| {' | '.join(row)} |")
    if checks := figures(found):
        print("\n| figure | measured | asked | |\n| --- | --- | --- | --- |")
        for name, value, sense, asked in checks:
            measured, verdict = _verdict(value, sense, asked)
            print(f"| {name} | {measured} | {sense} {asked:g} | {verdict} |")
    if missing := failures(found):
        print("\n| measurement that failed | why |\n| --- | --- |")
        for name, why in missing.items():
            print(f"| {name} | {why.replace('|', '/')} |")
    of = found["machine"]
    memory = found.get("bandwidth", {}).get("bytes_per_second")
    extra = f", memory {memory / 1e9:.1f} GB/s" if memory else ""
    print(
        f"\nMeasured {of['date']} on {of['processor']}, {of['threads']} threads,"
        f" {'with' if of['bf16_instructions'] else 'without'} bf16 instructions, torch {of['torch']}, openvino"
        f" {of['openvino']}, transformers {of['transformers']}{extra}.\n"
    )
