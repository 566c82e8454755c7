"""Pictures of an evaluation: where onsets fall in the beat, the conditions side by side, stems with their beats."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stage.audio.files import read, to_mono
from stage.evaluation.acceptance.clips import Material
from stage.evaluation.acceptance.report import Report
from stage.evaluation.figures.beats import beat_phases
from stage.evaluation.figures.sound import mel_spectrum
from stage.evaluation.truth import Truth
from stage.files import whole_file

COLOURS = {"true stem": "#4c72b0", "right context": "#55a868", "wrong context": "#c44e52", "no context": "#8c8c8c"}


def draw(result: Report, rows: dict[str, dict], material: Material, out: Path) -> list[Path]:
    """Write all pictures as PNG into `out` and return their paths."""
    tasks = [task for task in ("click", "mix", "mix alone", "true drums", "bass", "true bass") if f"{task}/000" in rows]
    truths = {task: material.truths(task) for task in tasks}
    paths = [_phases(rows, truths, out / "onsets.png"), _bars(result, out / "conditions.png")]
    found = [
        (task, index) for task in tasks for index in range(2) if (out / "examples" / _example(task, index)).exists()
    ]
    if found:
        paths.append(_stems(found, truths, out / "examples", out / "stems.png"))
    return paths


def _save(figure, path: Path, dpi: int = 100) -> Path:
    with whole_file(path, force=True) as partial, partial.open("wb") as file:
        figure.savefig(file, dpi=dpi, format="png")
    return path


def _example(task: str, index: int) -> str:
    return f"{task.replace(' ', '-')}-{index:03d}.flac"


def _phases(rows: dict[str, dict], truths: dict[str, list[Truth]], path: Path) -> Path:
    """Histograms of where onsets fall between two beats: peaks at 0 and at the subdivisions, flat without timing."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 2.2 * len(truths)), layout="constrained")
    axes = figure.subplots(len(truths), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (task, known) in zip(axes, truths.items()):
        found = sorted(key for key in rows if key.rsplit("/", 1)[0] == task)
        phases = [
            beat_phases(truth.grid.times, np.array(rows[key]["heard"]["onsets"])) for key, truth in zip(found, known)
        ]
        phases = np.concatenate(phases) if phases else np.zeros(0)
        # Half a bin early, so that the beat is in the middle of the first bar, not on its edge.
        axis.hist((phases + 1 / 96) % 1 - 1 / 96, bins=np.arange(49) / 48 - 1 / 96, color="#55a868")
        axis.set_ylabel(f"{task}\nonsets")
    axes[-1].set_xlabel("place in the beat")
    return _save(figure, path)


def _bars(result: Report, path: Path) -> Path:
    """Beat F, onset agreement and notes in the chord: a group of bars for each task, a colour for each condition."""
    from matplotlib.figure import Figure

    titles = {"beat_f": "beat F", "onset_agreement": "onset agreement", "in_chord": "bass notes in the chord"}
    figure = Figure(figsize=(14, 4), layout="constrained")
    for axis, (metric, title) in zip(figure.subplots(1, 3), titles.items()):
        for place, conditions in enumerate(result.conditions.values()):
            for offset, (condition, means) in enumerate(conditions.items()):
                axis.bar(
                    place + (offset - 1.5) / 5,
                    means[metric],
                    0.19,
                    color=COLOURS[condition],
                    label=condition if place == 0 else None,
                )
        axis.set_xticks(range(len(result.conditions)), list(result.conditions))
        axis.set_title(title)
    figure.axes[0].legend()
    return _save(figure, path)


def _stems(examples: list[tuple[str, int]], truths: dict[str, list[Truth]], folder: Path, path: Path) -> Path:
    """Mel spectrograms of kept stems with the true beats above them; downbeats longer."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 2.6 * len(examples)), layout="constrained")
    for axis, (task, index) in zip(figure.subplots(len(examples), 1, squeeze=False)[:, 0], examples):
        audio, rate = read(folder / _example(task, index))
        audio = to_mono(audio)
        spectrum = 20 * np.log10(np.maximum(mel_spectrum(audio, rate), 1e-4))
        axis.imshow(spectrum.T, origin="lower", aspect="auto", extent=(0, len(audio) / rate, 0, 80), cmap="magma")
        grid = truths[task][index].grid
        for time, number in zip(grid.times, grid.numbers):
            axis.plot([time, time], [66 if number == 1 else 73, 80], color="cyan", linewidth=1.5)
        axis.set_ylabel(f"{task} {index}\nmel band")
    figure.axes[-1].set_xlabel("seconds")
    return _save(figure, path, dpi=80)
