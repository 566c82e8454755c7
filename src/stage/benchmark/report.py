"""The benchmark's tables: every measurement, and every figure beside what is asked of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
    value = found.get(name, {})
    if "bandwidth" not in found or "bytes_per_step" not in value:
        return None
    return value["bytes_per_step"] / found["bandwidth"]["bytes_per_second"] * value["steps_per_second"]


def figures(found: dict[str, Any]) -> list[tuple[str, float, str, float]]:
    """What is asked: (name, measured, "at least" or "at most", asked), where it was measured."""

    def speed(name: str) -> float:
        return found[name]["steps_per_second"]

    many = found["variations"]
    wanted: list[tuple[str, Callable[[], float | None], str, float]] = [
        ("bf16 / transformers bf16", lambda: speed("ours bf16") / speed("transformers bf16"), "at least", 1.6),
        ("int8 / transformers bf16", lambda: speed("ours int8") / speed("transformers bf16"), "at least", 3.2),
        ("int8 / transformers float32", lambda: speed("ours int8") / speed("transformers float32"), "at least", 8),
        ("int8, steps a second", lambda: speed("ours int8"), "at least", FRAMES_A_SECOND),
        ("int8, share of the memory's limit", lambda: limit(found, "ours int8"), "at least", 0.7),
        ("int4 / transformers bf16", lambda: speed("ours int4") / speed("transformers bf16"), "at least", 4),
        ("whole job of 10 s, int8, seconds", lambda: found["job int8"]["seconds"], "at most", 10),
        (f"{many} variations / {many} single runs", lambda: _shared(found, many), "at most", 0.4),
        ("peak memory of the job, int8, GB", lambda: found["job int8"]["peak_gb"], "at most", 1.8),
        ("first audio, small size, int8, seconds", lambda: found["first int8"]["seconds"], "at most", 3),
        ("first audio, embedded, seconds", lambda: found["first embedded"]["seconds"], "at most", 0.5),
        ("embedded, 10 s of drums, seconds", lambda: found["job embedded"]["seconds"], "at most", 2),
        ("KL of int8, embedded", lambda: found["quality int8"]["kl"], "at most", 0.01),
        ("KL of int4, embedded", lambda: found["quality int4"]["kl"], "at most", 0.05),
        *(
            (
                f"{what} of {p} below float32's, in its noise",
                lambda p=p, what=what: _loss(found, p, what),
                "at most",
                2.0,
            )
            for p in ("int8", "int4")
            for what in ("beats", "chords")
        ),
    ]
    made = []
    for name, measure, sense, asked in wanted:
        try:
            value = measure()
        except KeyError:  # that part was not run
            continue
        if value is not None:
            made.append((name, value, sense, asked))
    return made


def _shared(found: dict[str, Any], many: int) -> float:
    """Time of many variations, prefill included, against as many single runs."""

    def seconds(name: str) -> float:
        return found[name]["prefill_seconds"] + STEPS / found[name]["steps_per_second"]

    return seconds(f"ours int8 x{many}") / (many * seconds("ours int8"))


def _loss(found: dict[str, Any], precision: str, what: str) -> float:
    """How far a figure of the music lies below float32's, in standard errors of the difference."""
    exact, low = found["quality float32"], found[f"quality {precision}"]
    noise = (exact[f"{what}_noise"] ** 2 + low[f"{what}_noise"] ** 2) ** 0.5
    return (exact[what] - low[what]) / max(noise, 1e-9)


def print_tables(found: dict[str, Any]) -> None:
    """Print both tables in Markdown, which the README takes over."""
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
            fine = value >= asked if sense == "at least" else value <= asked
            print(f"| {name} | {value:.4g} | {sense} {asked:g} | {'pass' if fine else 'FAIL'} |")
    of = found["machine"]
    extra = f", memory {found['bandwidth']['bytes_per_second'] / 1e9:.1f} GB/s" if "bandwidth" in found else ""
    print(
        f"\nMeasured {of['date']} on {of['processor']}, {of['threads']} threads,"
        f" {'with' if of['bf16_instructions'] else 'without'} bf16 instructions, torch {of['torch']}, transformers"
        f" {of['transformers']}{extra}.\n"
    )
