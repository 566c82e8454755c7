"""Songs of any data set, once brought to the model's rate with beats, tags, loudness and silence map, in shards: `stage
prepare`.

Each song becomes a small tar in OUT/work as soon as it is done, written whole or not at all; what is there is never
done again. At the end they are put together into shards. Songs are independent, so that processes of one machine, or of
a Ray cluster that shares the folder, work on them side by side; OUT is locked for one `stage prepare` at a time.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from stage.beats.choose import choose
from stage.data import splits
from stage.data.open import location, open_songs
from stage.data.prepare_song import Settings, key, song_tar
from stage.data.prepared import FORMAT, INDEX, checksum, read_index
from stage.data.song import Problem, Song
from stage.errors import StageError
from stage.files import lock, whole_file, write_bytes, write_text
from stage.parallel import results

WORK = "work"
SHRUNK = 0.6
"""FLAC against 16-bit samples, to guess the room that is needed."""


@dataclass(frozen=True)
class Done:
    """A song that was worked on. problems: a song that cannot be used has one without a stem."""

    song: str
    problems: tuple[Problem, ...] = ()


OnSong = Callable[[int, int, str], None]
"""Called with the songs that are done, all songs, and the last one's id."""


def prepare(
    path: Path | str,
    out: Path,
    settings: Settings,
    *,
    kind: str = "auto",
    split: str = "auto",
    held: float = 0.1,
    workers: int = 1,
    ray: str | None = None,
    shard_megabytes: float = 512,
    limit: int | None = None,
    on_song: OnSong | None = None,
) -> list[Problem]:
    """Prepare a data set into the folder `out`; goes on with what is there. Returns what was left out.

    split, held: see `stage.data.splits`. workers: processes. ray: address of a Ray cluster ("local" for one of this
    machine) instead.
    Raises StageError where `out` was prepared otherwise, where the disk is full, or where nothing can be used.
    """
    problems: list[Problem] = []
    path, out = location(path), Path(out)
    songs = open_songs(path, kind, settings.rate, problems)[:limit]
    _check_settings(out, settings, path)
    with lock(out, "another `stage prepare`"):
        _remove_old_temporaries(out)
        problems += _prepare(songs, out, settings, split, held, workers, ray, shard_megabytes, on_song)
        return problems


def _prepare(
    songs: Sequence[Song],
    out: Path,
    settings: Settings,
    split: str,
    held: float,
    workers: int,
    ray: str | None,
    shard_megabytes: float,
    on_song: OnSong | None,
) -> list[Problem]:
    frozen = splits.assign(songs, splits.read(out), split, held)
    write_text(out / splits.FILE, json.dumps(frozen, indent=0, sort_keys=True))
    problems = [
        Problem(artist, "artist in several splits", ", ".join(where))
        for artist, where in splits.shared_artists(songs, frozen).items()
    ]
    packed = {entry["id"] for shard in _shards(out) for entry in shard["songs"]}
    todo = [song for song in songs if song.id not in packed and not _result(out, song).exists()]
    _check_room(out, todo, settings, shard_megabytes)
    if any(song.beats is None for song in todo):
        choose(settings.tracker)  # what is not installed is reported before the work
    (out / WORK).mkdir(exist_ok=True)
    count = len(songs) - len(todo)
    with results(
        partial(_worker, settings, str(out)),
        [(song, frozen[song.id]) for song in todo],
        workers,
        kept="the songs that are done are kept",
        label=lambda task: task[0].id,
        ray=ray,
    ) as made:
        for (song, _), _ in made:
            count += 1
            if on_song:
                on_song(count, len(songs), song.id)
    for song in songs:
        problems += _reported(_result(out, song))
    with _room(out):
        _pack(out, songs, settings, shard_megabytes, problems)
    return problems


def _worker(settings: Settings, out: str, threads: int) -> Callable[[tuple[Song, str]], Done]:
    return lambda task: work(*task, settings, out)


def work(song: Song, split: str, settings: Settings, out: str) -> Done:
    """Do one song: its tar and its report appear in OUT/work. A song that cannot be used leaves a report alone."""
    problems: list[Problem] = []
    try:
        data = song_tar(song, split, settings, problems)
    except StageError as error:
        data = None
        problems.append(Problem(song.id, "file unreadable", str(error)))
    except Exception as error:  # a tracker or tagger that fails on one song of thousands must not end the work
        data = None
        problems.append(Problem(song.id, "failed", f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"))
    with _room(out):
        if data is not None:
            write_bytes(_result(Path(out), song).with_suffix(".tar"), data)
        _report(Path(out), song, problems)
    return Done(song.id, tuple(problems))


def _report(out: Path, song: Song, problems: Sequence[Problem]) -> None:
    write_text(_result(out, song), json.dumps([asdict(problem) for problem in problems]))


def _reported(path: Path) -> list[Problem]:
    """The problems of a song that was done, none if it was not."""
    if not path.exists():
        return []
    try:
        return [Problem(**problem) for problem in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        raise StageError(f"{path} is damaged ({error}): delete it, and the song is done again") from None


@contextlib.contextmanager
def _room(out: Path | str) -> Iterator[None]:
    """For a full disk, an error that names the remedy."""
    try:
        yield
    except StageError as error:
        if os.strerror(errno.ENOSPC) in str(error):
            raise StageError(f"the disk of {out} is full: make room, and the same command goes on") from None
        raise


# ------------------------------------------------------------ the folder


def _result(out: Path, song: Song) -> Path:
    return out / WORK / f"{key(song.id)}.report"


def _check_settings(out: Path, settings: Settings, source: Path | str) -> None:
    """Write down what the folder is for, or check that it is the same. A folder that holds something else stays as it
    is."""
    place = source if isinstance(source, str) else os.path.abspath(source)
    wanted = json.loads(json.dumps({"source": place, **asdict(settings)}))
    path = out / "settings.json"
    try:
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
        others = (
            [] if known or not out.exists() else [entry for entry in out.iterdir() if not entry.name.startswith(".")]
        )
    except (OSError, ValueError) as error:
        raise StageError(f"{path} cannot be read ({error}): choose another folder") from None
    if others:
        raise StageError(f"{out} holds something else: choose a new folder")
    if known is None:
        write_text(path, json.dumps(wanted))
    elif known != wanted:
        changed = [name for name in wanted if not isinstance(known, dict) or wanted[name] != known.get(name)]
        before = (
            ", ".join(f"{name} {known.get(name)}" for name in changed) if isinstance(known, dict) else "other values"
        )
        raise StageError(f"{out} was started with {before}: choose another folder, or the same values")


def _remove_old_temporaries(out: Path) -> None:
    """Remove what killed runs of earlier versions left: .NAME.PID, .shard-NUMBER.tar"""
    for path in [*out.glob(".*"), *(out / WORK).glob(".*")]:
        if re.fullmatch(r"\..+\.(report|tar|json)\.\d+|\.shard-\d+\.tar", path.name):
            path.unlink(missing_ok=True)


def _check_room(out: Path, songs: Sequence[Song], settings: Settings, megabytes: float) -> None:
    # 16 bits a sample; a song's own file goes when its shard is there, so there is one shard besides
    needed = 2 * SHRUNK * sum(song.seconds * settings.rate * len(song.stems) for song in songs) + min(
        megabytes * 1e6, 1e12 * bool(songs)
    )
    free = shutil.disk_usage(out).free
    if needed > free:
        raise StageError(
            f"{out} needs about {needed / 1e9:.1f} GB for {len(songs)} songs, and {free / 1e9:.1f} GB are free: make"
            " room, or use --limit"
        )


def _shards(out: Path) -> list[dict]:
    if not (out / INDEX).exists():
        return []
    shards = read_index(out)["shards"]
    for entry in (entry for shard in shards for entry in shard["songs"]):
        if not isinstance(entry, dict) or not {"id", "print", "title", "split"} <= set(entry):
            raise StageError(f"{out / INDEX} is damaged: delete it with the shards beside it, and prepare again")
    return shards


def _pack(out: Path, songs: Sequence[Song], settings: Settings, megabytes: float, problems: list[Problem]) -> None:
    """Put the songs' tars into shards, note them in the index, and clean up; a crash in between repeats a shard at
    most."""
    shards = _shards(out)
    packed = {entry["id"] for shard in shards for entry in shard["songs"]}
    prints = {entry["print"]: entry["id"] for shard in shards for entry in shard["songs"]}
    titles = {tuple(entry["title"]): (entry["id"], entry["split"]) for shard in shards for entry in shard["songs"]}
    order = sorted(songs, key=lambda song: song.id)
    for song in order:
        if song.id in packed:  # a call that was killed between a shard and this
            _result(out, song).with_suffix(".tar").unlink(missing_ok=True)
    ready = [
        (song, place)
        for song in order
        if song.id not in packed and (place := _result(out, song).with_suffix(".tar")).exists()
    ]
    known = [
        (about["split"] == "train", song.id, song, place, about) for song, place in ready for about in [_about(place)]
    ]
    group: list[tuple[Song, Path, dict]] = []
    # what is held out comes first, so that of two equal songs the one to train on is left out
    for _, _, song, place, about in sorted(known, key=lambda item: item[:2]):
        first, split = titles.setdefault(tuple(_title(about)), (song.id, about["split"]))
        same = f"sounds the same as {twin}" if (twin := prints.setdefault(about["print"], song.id)) != song.id else ""
        if about["artist"] and first != song.id and split != about["split"]:
            same = same or f"{about['artist']}, {about['title']} is in {split} too: {first}"
        if same:
            _leave_out(out, song, Problem(song.id, "duplicate song", same), problems)
            continue
        group.append((song, place, about))
        if sum(place.stat().st_size for _, place, _ in group) >= megabytes * 1e6:
            _shard(out, shards, group, settings)
            group = []
    if group:
        _shard(out, shards, group, settings)
    if not shards:
        raise StageError(
            f"nothing of this data set can be used; the first problem: {problems[0].song}: {problems[0].reason}"
            f" ({problems[0].detail})"
            if problems
            else "this data set holds no song"
        )


def _leave_out(out: Path, song: Song, problem: Problem, problems: list[Problem]) -> None:
    """Note it in the song's report, so that a later call reports it too."""
    place = _result(out, song)
    _report(out, song, [*_reported(place), problem])
    place.with_suffix(".tar").unlink(missing_ok=True)
    problems.append(problem)


def _title(about: dict) -> list[str]:
    return [about["artist"].strip().lower() or about["id"], about["title"].strip().lower()]


def _about(place: Path) -> dict:
    try:
        with tarfile.open(place) as tar:
            return json.loads(tar.extractfile(tar.next()).read())
    except (OSError, ValueError, AttributeError, tarfile.TarError) as error:
        report = place.with_suffix(".report")
        raise StageError(
            f"{place} is damaged ({error}): delete it and {report.name}, and the song is done again"
        ) from None


def _shard(out: Path, shards: list[dict], group: list[tuple[Song, Path, dict]], settings: Settings) -> None:
    name = f"shard-{len(shards):05d}.tar"
    entries: list[dict[str, Any]] = []
    with whole_file(out / name, force=True) as part:
        with tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as whole:
            for song, place, about in group:
                entry: dict[str, Any] = {
                    "id": song.id,
                    "print": about["print"],
                    "title": _title(about),
                    "split": about["split"],
                    "stems": {},
                }
                with tarfile.open(place) as tar:
                    for member in tar:
                        whole.addfile(member, tar.extractfile(member))
                        at = whole.offset - -(-member.size // 512) * 512
                        if member.name.endswith(".json"):
                            entry |= {"offset": at, "size": member.size}
                        else:
                            entry["stems"][list(about["loudness"])[len(entry["stems"])]] = [at, member.size]
                entries.append(entry)
        about_shard = {"name": name, "sha256": checksum(part), "bytes": part.stat().st_size, "songs": entries}
    shards.append(about_shard)
    index = {"format": FORMAT, "rate": settings.rate, "settings": asdict(settings), "shards": shards}
    write_text(out / INDEX, json.dumps(index))
    for _, place, _ in group:
        place.unlink(missing_ok=True)
