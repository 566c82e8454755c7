"""Whether a session is as it was made: its song, its files, and takes that are made again by their recipes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stage import __version__, fingerprint
from stage.errors import StageError
from stage.session import sounds, state
from stage.session.making import Made, make
from stage.session.resound import resound
from stage.session.state import Take

if TYPE_CHECKING:
    from stage.pipeline import EngineName, Stage
    from stage.session.session import Session


@dataclass(frozen=True)
class Difference:
    """What was found. what: the song or a take's name; why: in words."""

    what: str
    why: str


def verify(
    session: Session, again: bool = True, on_take: Callable[[str, float], None] | None = None, mend: bool = False
) -> list[Difference]:
    """See `Session.verify`."""
    found = []
    session.__dict__.pop("song", None)  # it is read anew
    try:
        _ = session.song
    except StageError as error:
        found.append(Difference("the song", str(error)))
    players: dict[tuple[str, EngineName], Session] = {}  # by model and engine
    broken = {name: list(_files(session, name, take)) for name, take in session.book.takes.items()}
    if mend and not found:
        broken = {name: _mended(session, players, name, said) for name, said in broken.items()}
    found += [one for said in broken.values() for one in said]
    if found or not again:
        return found
    for i, (name, take) in enumerate(session.book.takes.items()):
        if on_take:
            on_take(name, i / len(session.book.takes))
        made = _again(session, players, take)
        if made is None:
            why = f'the weights of "{take.recipe.model}" are others than when it was made'
            found.append(Difference(f"take {name}", why))
        elif not np.array_equal(made.audio, session.scene().sound(name)):
            found.append(Difference(f"take {name}", "its sound comes out otherwise" + _since(take)))
        elif (made.notes or ()) != session.scene().notes(name):
            found.append(Difference(f"take {name}", "its notes come out otherwise" + _since(take)))
    return found


def _again(session: Session, players: dict[tuple[str, EngineName], Session], take: Take) -> Made | None:
    """A take made once more; None where the weights of its model are others."""
    if take.recipe.instrument:
        return resound(take.recipe, session.scene())
    player = _player(session, players, take)
    if player.weights != take.recipe.weights:
        return None
    return make(player.stage, [take.recipe], session.scene())[0]


def _player(session: Session, players: dict[tuple[str, EngineName], Session], take: Take) -> Session:
    """A session with the model and the engine of a take."""
    engine: EngineName = "openvino" if take.versions.get("engine") == "openvino" else "torch"
    key = take.recipe.model, engine
    if key not in players:
        same = session.model == key[0] and engine_of(session.stage) == engine
        players[key] = session if same else type(session)(session.folder, take.recipe.model, engine=engine)
    return players[key]


def engine_of(stage: Stage) -> EngineName:
    """What computes a model."""
    return "torch" if stage.decoder.engine is None else "openvino"


def _mended(
    session: Session, players: dict[tuple[str, EngineName], Session], name: str, said: list[Difference]
) -> list[Difference]:
    """Make the files of a take again, and keep them where they are what they were; returns what still differs."""
    if not said:
        return said
    take = session.book.takes[name]
    made = _again(session, players, take)
    if made is None:
        return said
    with session.editing(), tempfile.TemporaryDirectory() as place:
        if sounds.write(Path(place), name, made.audio, session.rate, made.notes) != (take.audio, take.notes):
            return [Difference(f"take {name}", said[0].why + " and comes out otherwise" + _since(take))]
        sounds.write(session.folder / state.TAKES, name, made.audio, session.rate, made.notes)
    return []


def _files(session: Session, name: str, take: Take) -> Iterator[Difference]:
    for end, digest in (("flac", take.audio), ("json", take.notes)):
        path = session.folder / state.TAKES / f"{name}.{end}"
        if digest is None:
            continue
        if not path.is_file():
            yield Difference(f"take {name}", f"{path.name} is missing")
        elif fingerprint.of_files(path) != digest:
            yield Difference(f"take {name}", f"{path.name} was changed")


def versions(stage: Stage | None = None) -> dict[str, str]:
    """Of what makes takes, and the machine; the engine of a model, where it is not torch."""
    import torch

    from stage import machine

    made = {"stage": __version__, "torch": torch.__version__, "numpy": np.__version__, "machine": machine.processor()}
    return made if stage is None or engine_of(stage) == "torch" else made | {"engine": engine_of(stage)}


def _since(take: Take) -> str:
    """What has changed since a take was made."""
    now = versions()
    changed = [
        f"{name} {old}, now {now[name]}" for name, old in take.versions.items() if name in now and now[name] != old
    ]
    return f" (made with {'; '.join(changed)})" if changed else ""
