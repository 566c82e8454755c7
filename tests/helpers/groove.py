"""The Groove MIDI Dataset (CC BY 4.0): the zip that $STAGE_GROOVE names, or data/groove-midi.zip in a folder beside the
checkout."""

from __future__ import annotations

import csv
import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from stage.notes import Note


def place() -> Path:
    """The zip file. Skips the test where there is none."""
    beside = Path(__file__).resolve().parents[3].glob("*/data/groove-midi.zip")
    named = os.environ.get("STAGE_GROOVE")
    found = next((path for path in [*([Path(named)] if named else []), *beside] if path.is_file()), None)
    if found is None:
        pytest.skip("the Groove MIDI Dataset is not on this machine: name its zip in STAGE_GROOVE")
    return found


def performances(most: int | None = None) -> Iterator[tuple[float, list[Note]]]:
    """(BPM, hits) of the performances, every n-th if there are more than `most`."""
    import mido

    with zipfile.ZipFile(place()) as archive:
        rows = list(csv.DictReader(io.TextIOWrapper(archive.open("groove/info.csv"), encoding="utf-8")))
        for row in rows[:: max(1, len(rows) // most)] if most else rows:
            midi = mido.MidiFile(file=io.BytesIO(archive.read(f"groove/{row['midi_filename']}")))
            now, hits = 0.0, []
            for message in midi:
                now += message.time
                if message.type == "note_on" and message.velocity:
                    hits.append(Note(now, now, message.note, message.velocity))
            if hits:
                yield float(row["bpm"]), hits
