"""What training data from many MIDI files cost, from rates measured here on a folder of some. Run by hand:

    python scripts/midi_scale.py FOLDER --files 8

Measured, in processor seconds of one core and in bytes: reading all files (roles, beats, chords, pieces); rendering all
pieces of `--files` of them; encoding one view of some (a mix for each target stem, by the codec of the model `sketch`).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch

from stage.errors import StageError

FILES = 100_000
RECIPE = Path(__file__).parent.parent / "recipes" / "player.yaml"


def reading(folder: Path, seconds: float) -> tuple[float, float, float, list[Path]]:
    """(processor seconds a file, pieces a file, seconds of music a file, the files that can be used)."""
    from stage.corpus import midi_songs

    files, usable, pieces, music = midi_songs.find(folder), [], 0, 0.0
    start = time.process_time()
    for path in files:
        try:
            found = midi_songs.pieces(midi_songs.read(path), seconds)
        except StageError:
            continue
        usable += [path] if found else []
        pieces, music = pieces + len(found), music + sum(piece.seconds for piece in found)
    spent = time.process_time() - start
    return spent / len(files), pieces / len(files), music / len(files), usable


def rendering(files: list[Path], seconds: float, out: Path) -> tuple[float, float, float]:
    """(processor seconds, bytes of audio, bytes of notes and words) of a second of music."""
    from stage.corpus import midi_songs
    from stage.corpus.build import write
    from stage.corpus.build_midi import render_piece
    from stage.corpus.synth import Renderer

    renderer = Renderer()
    music, start = 0.0, time.process_time()
    for path in files:
        for piece in midi_songs.pieces(midi_songs.read(path), seconds):
            write(out, *render_piece(piece, "train", 1, renderer))
            music += piece.seconds
    spent = time.process_time() - start
    renderer.close()
    sizes = [sum(p.stat().st_size for p in out.rglob(pattern)) for pattern in ("*.flac", "*.json")]
    return spent / music, sizes[0] / music, sizes[1] / music


def encoding(folder: Path, most: int, out: Path) -> tuple[float, float]:
    """(processor seconds, bytes) of one view of a second of music."""
    from stage import Stage
    from stage.corpus.read import CorpusSong
    from stage.training.embedded.event_views import view
    from stage.training.embedded.player_recipe import PlayerRecipe
    from stage.training.embedded.token_views import write_view
    from stage.training.recipe import read

    codec, recipe = Stage.from_pretrained("sketch").codec, read(PlayerRecipe, RECIPE)
    songs = [CorpusSong(path.parent) for path in sorted(folder.rglob("song.json"))[:most]]
    out.mkdir()
    start = time.process_time()
    for i, song in enumerate(songs):
        write_view(out / f"{i}.safetensors", lambda song=song: view(song, codec, recipe, 1), song, {})
    spent, music = time.process_time() - start, sum(song.seconds for song in songs)
    return spent / music, sum(p.stat().st_size for p in out.iterdir()) / music


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="MIDI files")
    parser.add_argument("--files", type=int, default=8, help="usable files that are rendered")
    parser.add_argument("--seconds", type=float, default=32.0, help="of a piece")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "train").mkdir()
        read, pieces, music, usable = reading(options.folder, options.seconds)
        chosen = usable[:: max(1, len(usable) // options.files)][: options.files]
        render, audio, notes = rendering(chosen, options.seconds, root / "train")
        encode, codes = encoding(root, 12, root / "views")
    hours = music * FILES / 3600
    rows = (
        ("music", f"{hours:,.0f} hours in {pieces * FILES:,.0f} pieces"),
        ("reading: roles, beats, chords", f"{read * FILES / 3600:,.0f} core hours"),
        ("rendering all stems", f"{render * hours:,.0f} core hours"),
        ("the stems as FLAC, 32 kHz, mono", f"{audio * hours * 3600 / 1e12:,.1f} TB"),
        ("notes, beats, chords, words", f"{notes * hours * 3600 / 1e9:,.0f} GB"),
        ("encoding the contexts of one view", f"{encode * hours:,.0f} core hours"),
        ("one view: notes and codes", f"{codes * hours * 3600 / 1e9:,.0f} GB"),
    )
    print(f"|  | {FILES:,} files |\n| --- | --- |")
    print("\n".join(f"| {name} | {value} |" for name, value in rows))
    print(
        f"\nMeasured in processor seconds of one core: reading {read:.2f} s a file; of a second of music rendering"
        f" {render:.3f} s and {audio / 1e3:.0f} kB, encoding {encode:.3f} s. {music:.0f} s of music a file."
    )


if __name__ == "__main__":
    main()
