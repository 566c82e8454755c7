"""Whatever a data set's metadata hold, opening it gives songs that can be used, or a StageError."""

import copy
import json
import random
import shutil

import numpy as np
import pytest

from helpers import data_sets, miniatures
from stage.cli.data import summary
from stage.data import open_songs
from stage.data.facts import truth
from stage.data.prepare import Settings, prepare
from stage.data.summary import lines, summarise
from stage.errors import StageError

ROUNDS = 150
JUNK = [
    *(None, True, False, [], {}, "", "x", [[]], {"x": 1}, [1, 2, 3], "false", "NaN", "../../../etc/passwd", "a\0b"),
    *(0, -1, 1, 3.7, 1e308, float("nan"), float("inf"), 10**30, 10**400, "y" * 300, "\ud800", "/", "..", "夜", [None]),
]


def nodes(value, path=()):
    """The places in a nested value."""
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from nodes(inner, (*path, key))


def changed(value, rng: random.Random):
    """A copy in which some values are junk, missing, or under another key."""
    value = copy.deepcopy(value)
    for _ in range(rng.randint(1, 3)):
        path = rng.choice(list(nodes(value)))
        if not path:
            return copy.deepcopy(rng.choice(JUNK)) if rng.random() < 0.05 else value
        inner = value
        for key in path[:-1]:
            inner = inner[key]
        kind = rng.random()
        if kind < 0.15:
            del inner[path[-1]]
        elif kind < 0.3 and isinstance(inner, dict):
            inner[rng.choice(["x", "", "../x", "drums", 7])] = inner.pop(path[-1])
        else:
            inner[path[-1]] = copy.deepcopy(rng.choice(JUNK))
    return value


def scrambled(data: bytes, rng: random.Random) -> bytes:
    """Bytes that are changed, cut out or repeated."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        at, size = rng.randrange(len(data)), rng.randint(1, 8)
        kind = rng.randrange(4)
        if kind == 0:
            data[at : at + size] = rng.randbytes(size)
        elif kind == 1:
            del data[at : at + size]
        elif kind == 2:
            data[at:at] = data[at : at + 40]
        else:
            data[at] ^= 1 << rng.randrange(8)
        if not data:
            return b""
    return bytes(data)


def use(root, **options) -> int:
    """Open a data set and do with its songs what `stage data` and `stage prepare` do. How many songs there are."""
    problems = []
    try:
        songs = open_songs(root, problems=problems, **options)
    except StageError as error:
        assert "\n" not in str(error)
        return 0
    lines(summarise(songs), problems)
    json.dumps(summary("any", songs, problems))
    for song in songs:
        assert 0 <= song.seconds < 1e5 and all(isinstance(role, str) for role in song.stems)
        if song.beats is not None:
            assert song.beats.ndim == 2 and np.isfinite(song.beats).all()
        for role in list(song.stems)[:1]:
            try:
                song.read(role, 0, 1000)
            except StageError:
                pass
    return len(songs)


def moises(root):
    return data_sets.moises(root) / "data.json"


def slakh(root):
    return data_sets.slakh(root, "train", "Track00001", samples=8000) / "metadata.yaml"


def corpus(root):
    return data_sets.corpus(root, "train", "one", seconds=1) / "song.json"


def prepared(root):
    band = miniatures.band(root.parent / "band", songs=2, seconds=3.0)
    prepare(band, root, Settings(16000))
    shutil.rmtree(root / "work")
    return root / "index.json"


@pytest.mark.parametrize("make", [moises, slakh, corpus, prepared], ids=lambda make: make.__name__)
def test_values_of_other_kinds_and_scrambled_text(make, tmp_path):
    yaml = pytest.importorskip("yaml")
    root = tmp_path / "set"
    path = make(root)
    rng, right = random.Random(0), path.read_bytes()
    assert use(root) >= 1
    value, counts = yaml.safe_load(right), []
    for round in range(ROUNDS):
        if round % 3:
            text = json.dumps(changed(value, rng)) if path.suffix == ".json" else yaml.safe_dump(changed(value, rng))
            path.write_text(text, encoding="utf-8", errors="surrogatepass")
        else:
            path.write_bytes(scrambled(right, rng))
        counts.append(use(root))
    assert min(counts) == 0 < sum(counts) / ROUNDS < 2 and max(counts) > 0  # some are refused, some are not
    path.write_bytes(right)
    assert use(root) >= 1


def test_descriptions_in_shards(tmp_path):
    root = tmp_path / "set"
    index = json.loads(prepared(root).read_text())
    shard = root / index["shards"][0]["name"]
    right = shard.read_bytes()
    entry = index["shards"][0]["songs"][0]
    start, size = entry["offset"], entry["size"]
    about, rng = json.loads(right[start : start + size]), random.Random(1)
    for round in range(ROUNDS):
        text = json.dumps(changed(about, rng)).encode() if round % 3 else scrambled(right[start : start + size], rng)
        data = right[:start] + text[:size].ljust(size) + right[start + size :]
        shard.write_bytes(data)
        assert use(root) >= 1 or round  # the other song is there all the same
    shard.write_bytes(right)
    assert use(root) == 2


@pytest.mark.parametrize("name", ["song.yaml", "stems.yaml", "beats.txt"])
def test_files_that_users_write(name, tmp_path):
    yaml = pytest.importorskip("yaml")
    for stem in ("drums", "bass"):
        data_sets.write(tmp_path / "set" / "song" / f"{stem}.wav", 1, 4000)
    facts = {"artist": "A", "tempo": 98.5, "key": "C# minor", "genres": ["dub"], "moods": "calm", "split": "test"}
    names = {"drums": ["schlagzeug", "tr*"], "ignore": "rough*"}
    value = {"song.yaml": facts, "stems.yaml": names}.get(name)
    right = yaml.safe_dump(value).encode() if value else b"# tapped\n0.1 4\n0.6 1\n1.1 2\n"
    path, rng = tmp_path / "set" / ("" if name == "stems.yaml" else "song") / name, random.Random(2)
    for round in range(ROUNDS):
        if value and round % 2:
            path.write_text(yaml.safe_dump(changed(value, rng)), encoding="utf-8", errors="surrogatepass")
        else:
            path.write_bytes(scrambled(right, rng))
        use(tmp_path / "set")


@pytest.mark.parametrize(
    "text", ["2020-13-45", "[" * 100_000, "!!python/object:x {}", "? [1]\n: 2", "a: &a [*a]", "\0"]
)
def test_yaml_that_its_reader_chokes_on(text, tmp_path):
    pytest.importorskip("yaml")
    data_sets.write(tmp_path / "set" / "song" / "drums.wav", 1, 4000)
    for name in ("stems.yaml", "song/song.yaml", "song/beats.txt"):
        (tmp_path / "set" / name).write_text(text)
        use(tmp_path / "set")
        (tmp_path / "set" / name).unlink()


def test_midi_files(tmp_path):
    pytest.importorskip("mido")
    root = tmp_path / "set"
    slakh(root)
    path, rng = next(root.rglob("all_src.mid")), random.Random(3)
    right = path.read_bytes()
    for _ in range(ROUNDS):
        path.write_bytes(scrambled(right, rng))
        assert use(root) == 1


@pytest.mark.parametrize(
    "value, right", [(True, True), (1, True), ("true", True), ("True ", True), ("YES", True), ("false", False)]
    + [("False", False), ("no", False), ("0", False), (0, False), (None, False), ("", False)],
)  # fmt: skip
def test_flags(value, right):
    assert truth(value) is right
