"""The results as tables: for the console and Markdown, JSON, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from stage.evaluation.figures.statistics import bootstrap
from stage.evaluation.protocol.task import CONTROLS, MODEL, TRUE, WRONG
from stage.evaluation.tables import finite, markdown

TITLES = {
    "f_measure": "F",
    "cmlt": "CMLt",
    "amlt": "AMLt",
    "tempo_difference": "tempo diff.",
    "mean_error": "mean error",
    "emd": "EMD",
    "onset_agreement": "onsets",
    "in_chord": "in chord",
    "chroma": "chroma",
    "clap": "CLAP",
    "density": "onsets/s",
}
HIGHER = {
    "f_measure": True,
    "cmlt": True,
    "amlt": True,
    "tempo_difference": False,
    "mean_error": False,
    "emd": False,
    "onset_agreement": True,
    "in_chord": True,
    "chroma": True,
}
"""Whether more is better; coherence and text scores, not listed here, are better when higher."""

LAST = (*CONTROLS, WRONG, TRUE)
"""Controls stand below what is compared."""
NOTES = {"click": "metronomes", "mix": "mixes"}


def figures_of(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Names of all figures in the rows, the usual ones first."""
    there = {name for row in rows for name, value in row.items() if isinstance(value, float)}
    return [name for name in TITLES if name in there] + sorted(there - set(TITLES))


def conditions(rows: Sequence[dict[str, Any]]) -> list[str]:
    """In the order of the tables; "wrong context" is the model's, measured against its partners."""
    there = list(dict.fromkeys(row["condition"] for row in rows))
    return [name for name in there if name not in LAST] + [name for name in LAST if name in there or name == WRONG]


def summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """[{stem, kind, condition, clips, figures: {name: [mean, low, high]}}] with 95 % intervals over clips."""
    found = []
    for stem, kind in dict.fromkeys((row["stem"], row["kind"]) for row in rows):
        group = [row for row in rows if (row["stem"], row["kind"]) == (stem, kind)]
        for condition in conditions(group):
            chosen = [row for row in group if row["condition"] == condition]
            if condition == WRONG:
                chosen = [row["wrong"] for row in group if row["condition"] == MODEL and "wrong" in row]
            if chosen:
                means = {
                    name: bootstrap(np.array([row.get(name, np.nan) for row in chosen])) for name in figures_of(chosen)
                }
                found.append(
                    {
                        "stem": stem,
                        "kind": kind,
                        "condition": condition,
                        "clips": len(chosen),
                        "figures": {name: list(value) for name, value in means.items() if np.isfinite(value[0])},
                    }
                )
    return found


def tables(lines: Sequence[dict[str, Any]], quality: Sequence[dict[str, Any]], tracker: str) -> str:
    """Markdown: a table for each stem and protocol, with intervals, one of distances, and notes."""
    parts, without = [], []
    for stem, kind in dict.fromkeys((line["stem"], line["kind"]) for line in lines):
        group = [line for line in lines if (line["stem"], line["kind"]) == (stem, kind)]
        names = [name for name in TITLES if any(name in line["figures"] for line in group)]
        names += sorted({name for line in group for name in line["figures"]} - set(names))
        table = [[f"{stem}, {NOTES[kind]}", "clips", *(TITLES.get(name, name) for name in names)]]
        for line in group:
            table.append([line["condition"], str(line["clips"]), *(_cell(line["figures"].get(name)) for name in names)])
        parts.append(markdown(table))
        if WRONG not in {line["condition"] for line in group}:
            other = "two songs" if kind == "mix" else "two metronomes"
            without.append(f"{stem}, {NOTES[kind]}: no wrong context, which needs clips of at least {other}.")
    if quality:
        parts.append(_distances(quality))
    notes = (
        f"Means and 95 % bootstrap intervals over clips. Beats tracked by {tracker}; F at 70 ms, nothing trimmed; tempo"
        " difference in BPM, mean error and EMD in seconds (less is better). Distances to true stems (less is better);"
        ' "true" is one half against the other.'
    )
    return "\n\n".join([*parts, *without, notes])


def _distances(quality: Sequence[dict[str, Any]]) -> str:
    table = [["quality", "protocol", "embedding", "clips", "FAD", "FAD, endless clips", "KAD"]]
    for line in quality:
        limit = line["fad"]["limit"]
        about = [f"{line['stem']}, {line['condition']}", NOTES[line["kind"]], line["embedding"], str(line["clips"])]
        endless = f"{limit:.3g}" if np.isfinite(limit) else ""
        table.append([*about, _distance(line["fad"]), endless, _distance(line["kad"])])
    return markdown(table)


LATEX = (
    "coherence cocola",
    "coherence ours",
    "clap",
    "f_measure",
    "cmlt",
    "amlt",
    "tempo_difference",
    "mean_error",
    "emd",
    "chroma",
    "in_chord",
)
"""Figures of the LaTeX table, in its order."""


def latex(lines: Sequence[dict[str, Any]], quality: Sequence[dict[str, Any]]) -> str:
    """A table in the paper's form: a row for each system, arrows for what is better; needs the package booktabs."""
    wanted = [name for name in LATEX if any(name in line["figures"] for line in lines)]
    embedding = quality[0]["embedding"] if quality else None
    head = [
        _escape(TITLES.get(name, name)) + (r" $\uparrow$" if HIGHER.get(name, True) else r" $\downarrow$")
        for name in wanted
    ]
    head += [r"FAD $\downarrow$", r"KAD $\downarrow$"] if embedding else []
    out = [r"\begin{tabular}{ll" + "r" * len(head) + "}", r"\toprule", "Stem & System & " + " & ".join(head) + r" \\"]
    for stem, kind in dict.fromkeys((line["stem"], line["kind"]) for line in lines):
        out.append(r"\midrule")
        for line in (line for line in lines if (line["stem"], line["kind"]) == (stem, kind)):
            cells = [_plain(line["figures"].get(name)) for name in wanted]
            cells += _plain_distances(line, quality, embedding) if embedding else []
            out.append(
                f"{_escape(stem)} ({_escape(kind)}) & {_escape(line['condition'])} & " + " & ".join(cells) + r" \\"
            )
    return "\n".join([*out, r"\bottomrule", r"\end{tabular}", ""])


def _plain_distances(line: dict[str, Any], quality: Sequence[dict[str, Any]], embedding: str) -> list[str]:
    """FAD and KAD of a line of the summary by one embedding; empty cells where they were not measured."""
    for near in quality:
        if near["embedding"] == embedding and all(near[key] == line[key] for key in ("stem", "kind", "condition")):
            return [f"{near['fad']['value']:.2f}", f"{near['kad']['value']:.2f}"]
    return ["", ""]


def to_csv(lines: Sequence[dict[str, Any]], quality: Sequence[dict[str, Any]]) -> str:
    """One figure a line: stem, protocol, condition, figure, mean, low, high, clips."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["stem", "protocol", "condition", "figure", "mean", "low", "high", "clips"])
    for line in lines:
        for name, (mean, low, high) in line["figures"].items():
            table.writerow([line["stem"], line["kind"], line["condition"], name, mean, low, high, line["clips"]])
    for line in quality:
        for name in ("fad", "kad"):
            value = line[name]
            table.writerow(
                [
                    line["stem"],
                    line["kind"],
                    line["condition"],
                    f"{name} {line['embedding']}",
                    value["value"],
                    value["low"],
                    value["high"],
                    line["clips"],
                ]
            )
    return text.getvalue()


def to_json(lines: Sequence[dict[str, Any]], quality: Sequence[dict[str, Any]], about: dict[str, Any]) -> str:
    """Everything, with what was evaluated; what was not measured is null."""
    found = finite({"about": about, "summary": list(lines), "quality": list(quality)})
    return json.dumps(found, indent=1, allow_nan=False)


def _cell(value: Sequence[float] | None) -> str:
    return "" if value is None else f"{_digits(value[0])} ({_digits(value[1])}..{_digits(value[2])})"


def _distance(value: dict[str, float]) -> str:
    return f"{value['value']:.3g} ({value['low']:.3g}..{value['high']:.3g})"


def _plain(value: Sequence[float] | None) -> str:
    return "" if value is None else f"{_digits(value[0])}$_{{\\pm {_digits((value[2] - value[1]) / 2)}}}$"


def _digits(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def _escape(text: str) -> str:
    return text.replace("_", r"\_").replace("%", r"\%").replace("#", r"\#").replace("&", r"\&")
