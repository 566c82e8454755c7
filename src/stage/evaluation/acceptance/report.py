"""From the kept rows to the tables: conditions side by side, and what is asked of the sketch model."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from stage import machine
from stage.evaluation.acceptance.clips import Material, Settings, wrong_partners
from stage.evaluation.acceptance.score import Analysis, mean_scores, score
from stage.evaluation.tables import finite, markdown
from stage.evaluation.truth import Truth

Scores = dict[str, float]


@dataclass(frozen=True)
class Criterion:
    """One line of what is asked: a measured value against a threshold; `value` is nan if it was not measured."""

    name: str
    value: float
    threshold: float
    at_least: bool = True

    @property
    def met(self) -> bool | None:
        if not math.isfinite(self.value):
            return None
        return self.value >= self.threshold if self.at_least else self.value < self.threshold


@dataclass(frozen=True)
class Report:
    """conditions: task -> condition (true, right, wrong, no context) -> mean figures, see `score.METRICS`."""

    conditions: dict[str, dict[str, Scores]]
    extra: dict[str, dict[str, float]]
    criteria: list[Criterion]
    machine: str


def report(rows: dict[str, dict], material: Material) -> Report:
    """Score the kept rows. Rows that are missing (a stem that the model does not play) are left out."""
    conditions: dict[str, dict[str, Scores]] = {}
    for task, stem in (("click", "drums"), ("mix", "drums"), ("mix alone", "drums"), ("bass", "bass")):
        if f"{task}/000" not in rows:
            continue
        truths = material.truths(task)
        partners = wrong_partners(truths, material.settings.seed, harmony=task == "bass")
        none = _analyses(rows, f"no context {stem}")
        found = _analyses(rows, task)
        conditions[task] = {
            "true stem": _mean(_analyses(rows, f"true {stem}"), material.truths(stem)),
            "right context": _mean(found, truths),
            "wrong context": mean_scores(
                [score(found[other], truths[i]) for i, other in enumerate(partners) if other is not None]
            ),
            "no context": mean_scores([score(none[i % len(none)], truth) for i, truth in enumerate(truths)]),
        }
    extra = {
        "prompts": _prompts(rows),
        "codec": _codec(rows),
        "kick": _kick(rows),
        "speed": _speed(rows, material.settings.seconds),
    }
    return Report(conditions, extra, criteria(conditions, extra), machine.describe())


def _analyses(rows: dict[str, dict], task: str) -> list[Analysis]:
    found = sorted(key for key in rows if key.rsplit("/", 1)[0] == task)
    return [Analysis.from_json(rows[key]["heard"]) for key in found]


def _mean(found: Sequence[Analysis], truths: Sequence[Truth]) -> Scores:
    return mean_scores([score(one, truth) for one, truth in zip(found, truths)])


def _prompts(rows: dict[str, dict]) -> dict[str, float]:
    """Share of metronomes with more onsets a second in the "busy" drums than in the "sparse" ones; both means."""
    found = {name: _analyses(rows, f"prompt {name}") for name in ("sparse", "busy")}
    sparse, busy = (np.array([len(one.onsets) / one.seconds for one in each]) for each in found.values())
    if not len(sparse):
        return {}
    return {
        "right_way": float((busy > sparse).mean()),
        "sparse": float(sparse.mean()),
        "busy": float(busy.mean()),
        "clips": len(sparse),
    }


def _codec(rows: dict[str, dict]) -> dict[str, float]:
    """Mean log-mel distance of the codec and of Opus, for all clips and for each kind of stem."""
    coded = [row for key, row in rows.items() if key.startswith("codec ")]
    figures: dict[str, float] = {}
    for part in ("all", *sorted({row["part"] for row in coded})):
        of_part = [row for row in coded if part in ("all", row["part"])]
        for name in ("codec", "opus"):
            if of_part:
                figures[f"{name} {part}"] = float(np.mean([row[name] for row in of_part]))
    return figures


def _kick(rows: dict[str, dict]) -> dict[str, float]:
    """Share of clips whose kick is stronger on downbeats: for metronomes, and for the true drums of songs."""
    shares = {}
    for name, task in (("click", "click"), ("true stem", "true drums")):
        pairs = np.array([row["kick"] for key, row in rows.items() if key.rsplit("/", 1)[0] == task], np.float64)
        pairs = pairs[np.isfinite(pairs).all(axis=1)] if len(pairs) else pairs
        if len(pairs):
            shares[name] = float((pairs[:, 0] > pairs[:, 1]).mean())
    return shares


def _speed(rows: dict[str, dict], seconds: float) -> dict[str, float]:
    """Median of the seconds that 10 s of drums for a metronome took."""
    took = [row["took"] for key, row in rows.items() if key.startswith("speed/")]
    return {"click": float(np.median(took)) * 10 / seconds} if took else {}


def criteria(conditions: dict[str, dict[str, Scores]], extra: dict[str, dict[str, float]]) -> list[Criterion]:
    """What the sketch model must show, line by line."""

    def mean(task: str, condition: str, metric: str = "beat_f") -> float:
        return conditions.get(task, {}).get(condition, {}).get(metric, math.nan)

    def relative(task: str, metric: str = "beat_f") -> float:
        true = mean(task, "true stem", metric)
        return mean(task, "right context", metric) / true if true > 0 else math.nan

    def gap(task: str, metric: str = "beat_f") -> float:
        return mean(task, "right context", metric) - mean(task, "wrong context", metric)

    # A bass line need not play every beat, so the figure that suits it better counts, for the gap too.
    bass = max(("beat_f", "onset_agreement"), key=lambda metric: np.nan_to_num(relative("bass", metric), nan=-1))
    named = {"beat_f": "beat F", "onset_agreement": "onset agreement"}[bass]
    in_chord = {name: mean("bass", f"{name} context", "in_chord") for name in ("right", "wrong")}
    if in_chord["right"] == 0:  # without a single note in a chord, a low figure for the wrong context is no evidence
        in_chord["wrong"] = math.nan
    lines = [
        Criterion("click -> drums, beat F / true drums'", relative("click"), 0.90),
        Criterion("mix -> drums as run by default, beat F / true drums'", relative("mix"), 0.85),
        Criterion("mix alone -> drums, beat F / true drums'", relative("mix alone"), 0.60),
        Criterion(f"mix -> bass, {named} / true bass's", relative("bass", bass), 0.80),
        Criterion("right minus wrong context: click, beat F", gap("click"), 0.40),
        Criterion("right minus wrong context: mix as run by default, beat F", gap("mix"), 0.35),
        Criterion(f"right minus wrong context: bass, {named}", gap("bass", bass), 0.30),
        Criterion(
            "kick stronger on downbeats, click with accents, share of clips", extra["kick"].get("click", math.nan), 0.75
        ),
        Criterion("bass notes in the sounding chord, right context", in_chord["right"], 0.60),
        Criterion("bass notes in the sounding chord, wrong context", in_chord["wrong"], 0.45, at_least=False),
        Criterion(
            "codec, log-mel distance, against Opus at 6 kbit/s",
            extra["codec"].get("codec all", math.nan),
            extra["codec"].get("opus all", math.nan),
            at_least=False,
        ),
        Criterion("busy prompt denser than sparse, share of clips", extra["prompts"].get("right_way", math.nan), 0.75),
        Criterion("seconds for 10 s of drums, guidance on", extra["speed"].get("click", math.nan), 3.0, at_least=False),
    ]
    return lines


WIDTH = 108
"""Columns of text that the table needs."""

COLUMNS = {
    "beat_f": "beat F",
    "beat_f_free": "free F",
    "downbeat_f": "bar F",
    "onset_agreement": "onsets",
    "onset_on": "on",
    "onset_off": "off",
    "mean_error": "ms",
    "tempo_difference": "BPM",
    "density": "per s",
    "in_chord": "chord",
}


def print_report(result: Report, console: Console) -> None:
    """Two tables: every condition's figures, and each thing that is asked for with its verdict."""
    table = Table(title="Measured stems against the known beats and chords (means)", box=SIMPLE, padding=(0, 0, 0, 1))
    for column in ("task", "condition", "clips", *COLUMNS.values()):
        table.add_column(column, justify="left" if column in ("task", "condition") else "right", no_wrap=True)
    for task, found in result.conditions.items():
        for condition, means in found.items():
            cells = [
                _number(means[metric] * 1000 if metric == "mean_error" else means[metric], metric) for metric in COLUMNS
            ]
            table.add_row(
                task if condition == "true stem" else "",
                condition,
                str(means["clips"]),
                *cells,
                end_section=condition == "no context",
            )
    console.print(table)

    table = Table(title=f"What is asked for ({result.machine})")
    for column in ("", "measured", "asked", "verdict"):
        table.add_column(column, justify="left" if not column else "right")
    verdicts = {True: "[green]pass[/]", False: "[red]FAIL[/]", None: "not measured"}
    for line in result.criteria:
        sign = ">=" if line.at_least else "<"
        table.add_row(line.name, _number(line.value), f"{sign} {line.threshold:.2f}", verdicts[line.met])
    console.print(table)
    if result.extra["prompts"]:
        found = result.extra["prompts"]
        console.print(
            f"onsets a second: {found['sparse']:.2f} when asked for sparse drums, {found['busy']:.2f} for busy ones"
        )
    parts = sorted({name.split(" ", 1)[1] for name in result.extra["codec"]})
    if parts:
        pairs = (
            f"{part} {result.extra['codec'][f'codec {part}']:.3f} / {result.extra['codec'][f'opus {part}']:.3f}"
            for part in parts
        )
        console.print("log-mel distance, codec / Opus: " + ", ".join(pairs))


def to_markdown(result: Report) -> str:
    """What is asked for, as a table for a README or a model card, and the machine."""
    verdicts = {True: "pass", False: "FAIL", None: "not measured"}
    rows = [["", "measured", "asked", ""]]
    for line in result.criteria:
        sign = ">=" if line.at_least else "<"
        rows.append([line.name, _number(line.value), f"{sign} {line.threshold:.2f}", verdicts[line.met]])
    return f"{markdown(rows)}\n\nMeasured on {result.machine}.\n"


def _number(value: float, metric: str = "") -> str:
    if not math.isfinite(value):
        return "-"
    digits = {"": 3, "mean_error": 0, "tempo_difference": 1}.get(metric, 2)
    return f"{value:.{digits}f}"


def to_json(result: Report, settings: Settings, model: dict) -> str:
    """results.json: everything in the report; what was not measured is null."""
    data = {
        "model": model,
        "machine": result.machine,
        "settings": asdict(settings),
        "conditions": result.conditions,
        "extra": result.extra,
        "criteria": [{**asdict(line), "met": line.met} for line in result.criteria],
    }
    return json.dumps(finite(data), indent=1, allow_nan=False)
