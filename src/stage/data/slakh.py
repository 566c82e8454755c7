"""Slakh2100 (and BabySlakh): `metadata.yaml` beside `stems/SNN.flac`; beats from the tempo map of `all_src.mid`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stage.data import roles
from stage.data.gather import Source, make, parse, text_of, tracks_of
from stage.data.places import Place, in_splits
from stage.data.song import Problem, Song
from stage.errors import MissingExtra, StageError
from stage.rhythm import BeatGrid

SPLITS = ("train", "validation", "test")
OMITTED = "omitted"
"""The folder of the redux split that holds what is twice in the data set."""


def places(root: Path) -> list[Place]:
    """The track folders of the splits, or of `root` itself; those of `omitted` go with that name as their split."""
    found = in_splits(root, (*SPLITS, OMITTED), "Track*/metadata.yaml")
    if not found:
        return []
    # A track folder without its metadata is to be told.
    folders = {place.folder.parent.parent: place.split for place in found}
    return [Place(path, split) for folder, split in folders.items() for path in sorted(folder.glob("Track*")) if path.is_dir()]


def read(place: Place, problems: list[Problem]) -> Song | None:
    """The song of a track folder. Its id is the folder's name; its title tells songs made from the same MIDI file (`source_of`)."""
    name, path = place.folder.name, place.folder / "metadata.yaml"
    if place.split == OMITTED:
        problems.append(Problem(name, "duplicate", "the redux split leaves it out, as the same music is in another track"))
        return None
    text = text_of(path, name, problems)
    if text is None:
        return None
    try:
        about = parse(path, text)
        sources = []
        for key, stem in sorted(about["stems"].items()):
            # What its renderer had no sound for is in the metadata, but is no stem.
            if not stem.get("audio_rendered", True):
                continue
            role = roles.slakh(str(stem.get("inst_class") or ""), bool(stem.get("is_drum")))
            if role:
                sources.append(Source(role, _audio(place.folder / "stems", key), str(stem.get("midi_program_name") or "")))
    except MissingExtra:
        raise
    except (StageError, KeyError, TypeError, AttributeError) as error:
        detail = str(error) if isinstance(error, StageError) else f"{path} is not of Slakh2100 ({type(error).__name__}: {error})"
        problems.append(Problem(name, "bad metadata", detail))
        return None
    stems = tracks_of(name, sources, problems)
    seconds = max((track.samples / track.rate for tracks in stems.values() for track in tracks), default=0.0)
    grid = None
    try:
        grid = beats(place.folder / "all_src.mid", seconds)
    except MissingExtra:
        raise
    except StageError as error:
        problems.append(Problem(name, "beats unreadable", f"{error}. The song stays, without its beats"))
    known = grid is not None and len(grid) > 1
    table = np.stack([grid.times, grid.numbers], 1).astype(np.float64) if known else None
    return make(name, stems, problems, artist="", title=str(about.get("UUID") or ""), split=place.split, beats=table, tempo=grid.bpm if known else None)


def _audio(folder: Path, key: str) -> Path:
    """FLAC, or WAV as in BabySlakh."""
    wav = folder / f"{key}.wav"
    return wav if wav.exists() else folder / f"{key}.flac"


def beats(path: Path, seconds: float) -> BeatGrid:
    """The beats that a MIDI file's tempo map and metres tell, those before `seconds`.

    Counted as everywhere here: 6/8 has two dotted-quarter beats a bar. A change of metre begins a bar. 4/4 and 120 where
    nothing is said, as the standard has it. Raises StageError for a file that cannot be read.
    """
    try:
        import mido
    except ModuleNotFoundError:
        raise MissingExtra("reading the beats of Slakh2100 (mido)", "train") from None
    try:
        file = mido.MidiFile(path, clip=True)
        ticks = file.ticks_per_beat
        if ticks <= 0:
            raise ValueError("its times are not counted in beats")
        tempi, metres = [(0, 500000)], [(0, 4, 4)]
        for track in file.tracks:
            now = 0
            for message in track:
                now += message.time
                if message.type == "set_tempo" and message.tempo > 0:
                    tempi.append((now, message.tempo))
                elif message.type == "time_signature" and message.numerator > 0:
                    metres.append((now, message.numerator, message.denominator))
    # A damaged MIDI file makes its parser stumble in many ways.
    except (OSError, EOFError, ValueError, KeyError, IndexError, TypeError) as error:
        raise StageError(f"the beats of {path} cannot be read: {getattr(error, 'strerror', None) or error or type(error).__name__}") from None
    # The last one said of a tick counts.
    tempi, metres = sorted({tick: (tick, *rest) for tick, *rest in tempi}.values()), sorted({tick: (tick, *rest) for tick, *rest in metres}.values())
    at = np.array([tick for tick, _ in tempi], np.float64)
    pace = np.array([tempo for _, tempo in tempi], np.float64) / (1e6 * ticks)
    begins = np.concatenate([[0.0], np.cumsum(np.diff(at) * pace[:-1])])

    def time_of(tick: np.ndarray) -> np.ndarray:
        part = np.searchsorted(at, tick, "right") - 1
        return begins[part] + (tick - at[part]) * pace[part]

    last = at[-1] + max(0.0, seconds - begins[-1]) / pace[-1]
    placed, numbers = [], []
    for (start, above, below), end in zip(metres, [tick for tick, *_ in metres[1:]] + [np.inf]):
        compound = below >= 8 and above % 3 == 0 and above > 3
        step = ticks * 4 / below * (3 if compound else 1)
        count = max(0, int(np.ceil((min(end, last) - start) / step - 1e-6)))
        placed.append(start + step * np.arange(count))
        numbers.append(np.arange(count) % (above // 3 if compound else above) + 1)
    times, numbers = time_of(np.concatenate(placed)), np.concatenate(numbers)
    inside = times < seconds
    return BeatGrid(times[inside], numbers[inside])
