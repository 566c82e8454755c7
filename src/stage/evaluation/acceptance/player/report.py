"""From the kept rows to the table: what is asked of the player, line by line, and the figures behind it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from stage import machine
from stage.beats.grid import BeatGrid
from stage.evaluation.acceptance.player import scores as scoring
from stage.evaluation.acceptance.player.clips import PlayerMaterial, Settings
from stage.evaluation.acceptance.player.controls import CONTROLS
from stage.evaluation.acceptance.player.jobs import PROMPTS, SPEED
from stage.evaluation.acceptance.player.scores import CONDITIONS, FIGURES, Scores, takes, takes_of
from stage.evaluation.acceptance.player.styles import METER, Classifier
from stage.evaluation.acceptance.player.takes import Measured
from stage.evaluation.figures import distances
from stage.evaluation.figures.statistics import bootstrap, bootstrap_ratio, wilson
from stage.evaluation.tables import finite, markdown

Value = tuple[float, float, float]
"""A figure and its 95 % interval; nan where there is none."""
NAN = float("nan")
LIKENESS = ("density", "sounding", "velocity", "repetition")
KINDS = {"stem": "stems", "whole": "mixes"}


@dataclass(frozen=True)
class Line:
    """One line of what is asked: figures by name, each of which must lie within the goal. note: what it rests on."""

    name: str
    values: dict[str, Value]
    least: float | None = None
    most: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether all are within; None where one was not measured."""
        found = [value for value, _, _ in self.values.values()]
        if not found or not all(map(math.isfinite, found)):
            return None
        low, high = -math.inf if self.least is None else self.least, math.inf if self.most is None else self.most
        return all(low <= value <= high for value in found)

    @property
    def goal(self) -> str:
        if self.least is not None and self.most is not None:
            return f"{self.least:g} to {self.most:g}"
        return f"at least {self.least:g}" if self.least is not None else f"at most {self.most:g}"

    def text(self) -> str:
        """The figures in words."""
        return ", ".join(f"{name} {_number(value)}".strip() for name, value in self.values.items()) or "-"


@dataclass(frozen=True)
class Report:
    """conditions: task -> condition -> figure -> mean. distances: stem -> kind -> measure -> condition -> mean."""

    lines: list[Line]
    conditions: dict[str, dict[str, dict[str, float]]]
    distances: dict[str, dict[str, dict[str, dict[str, float]]]]
    classifier: dict[str, float]
    machine: str


def report(
    rows: Mapping[str, dict],
    material: PlayerMaterial,
    classifier: Classifier | None = None,
    accuracy: Mapping[str, Sequence[bool]] | None = None,
) -> Report:
    """All figures of the kept rows. classifier: of styles; accuracy: its own, on held-out true parts."""
    made = {task: takes(rows, material, task) for task in material.tasks}
    found: dict[str, dict[str, Scores]] = {
        task: {name: scoring.scores(material.of(task), list_) for name, list_ in conditions.items()}
        for task, conditions in made.items()
    }
    far = _distances(made, material)
    lines = [
        *_beats(rows, material, found),
        *_rhythm(rows, material, found),
        *_likeness(found),
        _fills(made, material),
        *_chords(rows, material, found),
        _bass(found),
        _gap(found),
        *_far(far),
        _coherence(made),
        *_options(rows),
        *_prompts(rows, classifier, accuracy),
        *_speed(rows, material.settings),
    ]
    means = {
        task: {
            condition: {name: _mean(values) for name, values in figures_.items()}
            for condition, figures_ in conditions.items()
        }
        for task, conditions in found.items()
    }
    shares = {style: float(np.mean(hits)) for style, hits in (accuracy or {}).items()}
    flat = {
        stem: {
            kind: {measure: {name: float(v.mean()) for name, v in by.items()} for measure, by in measures.items()}
            for kind, measures in kinds.items()
        }
        for stem, kinds in far.items()
    }
    return Report(lines, means, flat, shares, machine.describe())


def _mean(values: np.ndarray) -> float:
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else NAN


def _plain(value: float) -> Value:
    return value, NAN, NAN


# ---------------------------------------------------------------- lines


def _relative(found: dict[str, dict[str, Scores]], task: str, figure: str, condition: str = "made") -> Value:
    """The mean of a figure over the true parts'."""
    here = found.get(task, {})
    if condition not in here or "true" not in here:
        return NAN, NAN, NAN
    return bootstrap_ratio(here[condition][figure], here["true"][figure])


def _beats(rows: Mapping, material: PlayerMaterial, found: dict) -> list[Line]:
    clicks = {"songs": "click", "drummers": "drummers"}
    alone = takes_of(rows, "alone mix drums")
    value: Value = (NAN, NAN, NAN)
    if alone and "true" in found.get("mix drums", {}):
        beat_f = scoring.scores(material.of("mix drums"), alone)["beat_f"]
        value = bootstrap_ratio(beat_f, found["mix drums"]["true"]["beat_f"])
    return [
        Line(
            "click -> drums, beat F / the true drums'",
            {name: _relative(found, task, "beat_f") for name, task in clicks.items() if task in found},
            least=0.97,
        ),
        Line("mix -> drums, beat F / the true drums'", {"": _relative(found, "mix drums", "beat_f")}, least=0.95),
        Line("mix alone (no grid) -> drums, the same", {"": value}, least=0.85),
    ]


def _rhythm(rows: Mapping, material: PlayerMaterial, found: dict) -> list[Line]:
    """Kick and snare against the better baseline's."""
    here = found.get("mix drums", {})
    best = _better(here, "kick_snare")
    lines = []
    prompted = takes_of(rows, "genre mix drums")
    sets = {
        "kick and snare, F against the true part / the better baseline's": here.get("made"),
        "the same with the genre as a prompt, as the baselines are given it": (
            scoring.scores(material.of("mix drums"), prompted) if prompted else None
        ),
    }
    for name, made in sets.items():
        value: Value = (NAN, NAN, NAN)
        note = ""
        if best is not None and made is not None:
            value = bootstrap_ratio(made["kick_snare"], here[best]["kick_snare"])
            note = f"{_mean(made['kick_snare']):.2f}, {best} baseline {_mean(here[best]['kick_snare']):.2f}"
        lines.append(Line(name, {"": value}, least=1.3, note=note))
    return lines


def _better(here: Mapping[str, Scores], figure: str) -> str | None:
    """The baseline with the higher mean."""
    return max((name for name in scoring.BASELINES if name in here), key=lambda n: _mean(here[n][figure]), default=None)


def _likeness(found: dict) -> list[Line]:
    lines = []
    for task in found:
        # what a bass plays a second and how long it sounds has a goal of its own
        names = LIKENESS if task != "mix bass" else ("velocity", "repetition")
        values = {FIGURES[name]: _relative(found, task, name) for name in names}
        lines.append(Line(f"{task.removeprefix('mix ')}: hits, sound, velocities, repetition / true", values, 0.8, 1.2))
    return lines


def fill_ratio(before: np.ndarray, other: np.ndarray) -> float:
    """How much commoner fills are in the bars before a border than in other bars. before, other: bool, a bar each.

    The other bars get a fill and a bar more, so that none divides by zero; none before borders is 0.
    """
    return float(before.mean() / ((other.sum() + 1) / (len(other) + 1)))


def _fills(made: dict, material: PlayerMaterial) -> Line:
    values: dict[str, Value] = {}
    note = ""
    if "made" in made.get("mix drums", {}):
        clips = material.of("mix drums")
        shares = {}
        for name in ("made", "true"):
            before, other = scoring.fill_shares(clips, made["mix drums"][name])
            if len(before) and len(other):
                shares[name] = fill_ratio(before, other), before, other
        if "made" in shares:
            ratio, before, other = shares["made"]
            values[""] = _plain(ratio)
            note = f"{before.sum()} of {len(before)} bars before a border, {other.sum()} of {len(other)} others"
            note += f"; true parts {shares['true'][0]:.1f}"
    return Line("fills in the bar before a section border / in others", values or {"": (NAN, NAN, NAN)}, 2.0, note=note)


def _chords(rows: Mapping, material: PlayerMaterial, found: dict) -> list[Line]:
    pitched = [stem for stem in ("bass", "keys", "guitar") if f"mix {stem}" in found]

    def shares(condition: str) -> dict[str, Value]:
        return {
            stem: bootstrap(here[condition]["in_chord"]) if condition in (here := found[f"mix {stem}"]) else (NAN,) * 3
            for stem in pitched
        }

    given = {}
    for stem in pitched:
        made = takes_of(rows, f"chords mix {stem}")
        given[stem] = bootstrap(scoring.scores(material.of(f"mix {stem}"), made)["in_chord"]) if made else (NAN,) * 3
    true = "true parts " + ", ".join(
        f"{stem} {_mean(found[f'mix {stem}']['true']['in_chord']):.2f}" for stem in pitched
    )
    return [
        Line("notes in the sounding chord, right context", shares("made"), least=0.92, note=true if pitched else ""),
        Line("notes in the sounding chord, wrong context", shares("wrong"), most=0.45),
        Line("notes in the sounding chord, chords given", given, least=0.97),
    ]


def _bass(found: dict) -> Line:
    names = {"onsets a second": "density", "sounding": "sounding", "voiced": "voiced"}
    return Line(
        "bass / the true bass's", {name: _relative(found, "mix bass", key) for name, key in names.items()}, 0.85, 1.15
    )


def _gap(found: dict) -> Line:
    values = {}
    for task, here in found.items():
        if task.startswith("mix ") and "made" in here and "wrong" in here:
            values[task.removeprefix("mix ")] = bootstrap(here["made"]["onset_f"] - here["wrong"]["onset_f"])
    return Line("right minus wrong context, onset F", values, least=0.25)


# ---------------------------------------------------------------- sound


def _distances(made: dict[str, dict[str, list[Measured]]], material: PlayerMaterial) -> dict:
    """stem -> "stem" or "whole" -> "KAD" or "FAD" -> condition -> [splits]."""
    found: dict = {}
    for task, conditions in made.items():
        there = {name: list_ for name, list_ in conditions.items() if all(t.whole for t in list_)}
        if not task.startswith("mix ") or "true" not in there or "made" not in there or len(there["true"]) < 4:
            continue
        for kind in KINDS:
            sets = {name: [take.embedding(kind) for take in list_] for name, list_ in there.items()}
            true, others = sets["true"], {name: v for name, v in sets.items() if name in ("made", *scoring.BASELINES)}
            found.setdefault(task.removeprefix("mix "), {})[kind] = {
                "KAD": scoring.halves(distances.kernel, true, others, material.settings.seed),
                "FAD": scoring.halves(distances.frechet, true, others, material.settings.seed),
            }
    return found


def ceiling(measure: str, true: np.ndarray) -> float:
    """What the true parts' other half has. A KAD of equal sets is about 0, at times below, so that nothing can be
    compared with its mean: of KAD it is the value that 95 % of the splits stay below."""
    return float(np.percentile(true, 95)) if measure == "KAD" else float(true.mean())


def _far(far: dict) -> list[Line]:
    lines = []
    for measure in ("KAD", "FAD"):
        for kind, word in KINDS.items():
            over, below = {}, {}
            for stem, kinds in far.items():
                by = kinds[kind][measure]
                top, ours = ceiling(measure, by["true"]), float(by["made"].mean())
                over[stem] = _plain(ours / top if top > 0 else NAN)
                rivals = [float(by[name].mean()) for name in scoring.BASELINES if name in by]
                below[stem] = _plain(ours / min(rivals) if rivals and min(rivals) > 0 else NAN)
            lines.append(Line(f"{measure} of {word} / of the true parts' other half", over, most=1.5))
            lines.append(Line(f"{measure} of {word} / of the better baseline", below, most=1.0))
    return lines


def _coherence(made: dict[str, dict[str, list[Measured]]]) -> Line:
    rates: dict[str, list[bool]] = {"true": [], "made": []}
    for conditions in made.values():
        for name, firsts in rates.items():
            for take in conditions.get(name, ()):
                if take.coherence:
                    firsts.append(take.coherence[0] > max(take.coherence[1:]))
    if not rates["true"] or not rates["made"]:
        return Line("coherence: right context first, rate / true stems'", {"": (NAN,) * 3}, least=0.8)
    value = bootstrap_ratio(*(np.array(rates[name], np.float64) for name in ("made", "true")))
    note = f"{np.mean(rates['made']):.2f}, true stems {np.mean(rates['true']):.2f}"
    return Line("coherence: right context first, rate / true stems'", {"": value}, least=0.8, note=note)


# ---------------------------------------------------------------- options, words, speed


def _options(rows: Mapping[str, dict]) -> list[Line]:
    lines = []
    for name in CONTROLS:
        found = [row["effect"] for key, row in rows.items() if key.startswith(f"control {name}/")]
        hits = np.array([value > 0 for value in found if value is not None], bool)
        if len(found):
            value = (float(hits.mean()), *wilson(hits)) if len(hits) else (NAN,) * 3
            note = f"{len(hits)} of {len(found)} clips have something to measure" if len(hits) < len(found) else ""
            lines.append(Line(f"option {name}: right direction", {"": value}, least=0.95, note=note))
    return lines


def _prompts(
    rows: Mapping[str, dict], classifier: Classifier | None, accuracy: Mapping[str, Sequence[bool]] | None
) -> list[Line]:
    sparse, busy = (takes_of(rows, f"prompt {word}") for word in PROMPTS)
    denser = [len(b.notes) > len(s.notes) for s, b in zip(sparse, busy)]
    kits = [row for key, row in rows.items() if key.startswith("kit/")]
    kit = [row["take"]["instrument"] == row["asked"] for row in kits]
    styles, note = [], "no training songs: not measured"
    if classifier is not None and accuracy:
        note = f"the classifier itself: {np.mean([hit for hits in accuracy.values() for hit in hits]):.2f}"
        note += " on held-out true drums"
        for key, row in rows.items():
            if key.startswith("style/") and row["asked"] in classifier.styles:
                take = Measured.from_json(row["take"])
                grid = BeatGrid.regular(row["bpm"], int(METER[0]), max([1.0, *(n.start for n in take.notes)]) + 0.1)
                styles.append(classifier.style(take.notes, grid) == row["asked"])
    return [
        Line("prompts: busy denser than sparse", {"": _share(denser)}, least=0.95),
        Line("prompts: kit words", {"": _share(kit)}, least=0.95),
        Line("prompts: style words, by the classifier", {"": _share(styles)}, least=0.8, note=note),
    ]


def _share(hits: Sequence[bool]) -> Value:
    return (float(np.mean(hits)), *wilson(np.array(hits))) if len(hits) else (NAN, NAN, NAN)


def _speed(rows: Mapping[str, dict], settings: Settings) -> list[Line]:
    limits = {"drums": 1.0, "bass": 1.0, "keys": 1.5}
    lines = []
    for stem in SPEED:
        took = [row["took"] * 10 / settings.seconds for key, row in rows.items() if key.startswith(f"speed {stem}/")]
        if took:
            lines.append(Line(f"seconds for 10 s of {stem}", {"": _plain(float(np.median(took)))}, most=limits[stem]))
    took = [row["took"] for key, row in rows.items() if key.startswith("stream/")]
    if took:
        lines.append(Line("seconds to a stream's first audio", {"": _plain(float(np.median(took)))}, most=0.4))
    return lines


# ---------------------------------------------------------------- output

WIDTH = 140
"""Columns of text that the tables need."""
VERDICTS = {True: "reached", False: "NOT reached", None: "not measured"}


def _number(value: Value) -> str:
    figure, low, high = value
    if not math.isfinite(figure):
        return "-"
    return f"{figure:.2f}" + (f" ({low:.2f}..{high:.2f})" if math.isfinite(low) else "")


def _rows(result: Report) -> list[list[str]]:
    lines = [[line.name, line.text(), line.goal, VERDICTS[line.met], line.note] for line in result.lines]
    return [["", "measured", "asked", "", ""], *lines]


def _figures(result: Report) -> list[list[str]]:
    rows = [["task", "condition", *FIGURES.values()]]
    for task, conditions in result.conditions.items():
        for condition in CONDITIONS:
            if condition in conditions:
                means = conditions[condition]
                rows.append([task, condition, *(_number(_plain(means[name])) for name in FIGURES)])
    return rows


def _far_rows(result: Report) -> list[list[str]]:
    names = ("true", "made", *scoring.BASELINES)
    rows = [["stem", "of", "distance", *names]]
    for stem, kinds in result.distances.items():
        for kind, measures in kinds.items():
            for measure, by in measures.items():
                rows.append([stem, KINDS[kind], measure, *(_number(_plain(by.get(name, NAN))) for name in names)])
    return rows


def print_report(result: Report, console: Console) -> None:
    """The figures of every condition, the distances, and what is asked for with its verdict."""
    titles = (
        "Means over clips: true parts, the model with right, wrong and no context, baselines",
        "Distances to true parts, means over random halves",
        f"What is asked for ({result.machine})",
    )
    for title, rows in zip(titles, (_figures(result), _far_rows(result), _rows(result))):
        if len(rows) > 1:
            table = Table(title=title, box=SIMPLE, padding=(0, 1, 0, 0))
            for head in rows[0]:
                table.add_column(head, overflow="fold")
            for row in rows[1:]:
                table.add_row(*row, style="red" if "NOT reached" in row else None)
            console.print(table)


def to_markdown(result: Report) -> str:
    """All tables, for a card, and the machine."""
    parts = [markdown(_rows(result)), markdown(_figures(result))]
    if result.distances:
        parts.append(markdown(_far_rows(result)))
    if result.classifier:
        shares = ", ".join(f"{style} {share:.2f}" for style, share in result.classifier.items())
        parts.append(f"The classifier of styles on held-out true drums: {shares}.")
    return "\n\n".join([*parts, f"Measured on {result.machine}."]) + "\n"


def to_json(result: Report, settings: Settings, model: dict) -> str:
    """results.json: everything in the report; what was not measured is null."""
    data = {
        "model": model,
        "machine": result.machine,
        "settings": asdict(settings),
        "lines": [{**asdict(line), "met": line.met} for line in result.lines],
        "conditions": result.conditions,
        "distances": result.distances,
        "classifier": result.classifier,
    }
    return json.dumps(finite(data), indent=1, allow_nan=False)
