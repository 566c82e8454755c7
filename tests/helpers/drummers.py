"""A small ZIP in the layout of the Groove MIDI Dataset, of hits that a test chooses."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

from stage.corpus.grooves import COLUMNS

Hit = tuple[float, int, int]
"""Beat, key, velocity."""


def midi_bytes(hits: Sequence[Hit], bpm: float) -> bytes:
    """A MIDI file of one track on the drums' channel."""
    import mido

    file = mido.MidiFile(type=0, ticks_per_beat=480)
    track = mido.MidiTrack()
    file.tracks.append(track)
    track.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(bpm)))
    events = sorted(
        (round(b * 480) + late, v, key) for b, key, velocity in hits for late, v in ((0, velocity), (20, 0))
    )
    now = 0
    for tick, velocity, key in events:
        track.append(mido.Message("note_on", channel=9, note=key, velocity=velocity, time=tick - now))
        now = tick
    out = io.BytesIO()
    file.save(file=out)
    return out.getvalue()


def groove_zip(path: Path, rows: Sequence[dict], leave_out: Sequence[str] = ()) -> Path:
    """Write the ZIP. rows: of info.csv, with `hits`, and defaults for what they lack. leave_out: files not written."""
    table = io.StringIO()
    writer = csv.DictWriter(table, COLUMNS, extrasaction="ignore")
    writer.writeheader()
    with zipfile.ZipFile(path, "w") as archive:
        for number, row in enumerate(rows):
            full = {
                "id": f"drummer1/session1/{number}",
                "drummer": "drummer1",
                "session": "drummer1/session1",
                "style": "rock",
                "bpm": 110,
                "beat_type": "beat",
                "time_signature": "4-4",
                "midi_filename": f"drummer1/session1/{number}.mid",
                "split": "train",
            } | row
            full["duration"] = max((h[0] for h in full["hits"]), default=0) * 60 / full["bpm"]
            writer.writerow(full)
            if full["midi_filename"] not in leave_out:
                archive.writestr(
                    "groove/" + full["midi_filename"], full.get("data") or midi_bytes(full["hits"], full["bpm"])
                )
        archive.writestr("groove/info.csv", table.getvalue())
    return path


def rock(bars: int, late: float = 0.0, fill_every: int = 0) -> list[Hit]:
    """Bars of a rock beat: kick on 1 and 3, snare on 2 and 4, eighths on the hat `late` beats behind; a fill on toms in
    the second half of every `fill_every`th bar, a crash after it."""
    hits: list[Hit] = []
    for bar in range(bars):
        at, fill = 4.0 * bar, bool(fill_every) and bar % fill_every == fill_every - 1
        crash = bool(fill_every) and bar and bar % fill_every == 0
        hits += [(at, 36, 60), (at + 2, 36, 60), (at + 1, 38, 110)] + ([(at, 55, 115)] if crash else [])
        hits += [(at + i / 2 + (late if i % 2 else 0), 42, 80) for i in range(4 if fill else 8)]
        hits += [(at + 2 + i / 4, (48, 45, 43, 43)[i // 2], 100) for i in range(8)] if fill else [(at + 3, 38, 110)]
    return hits
