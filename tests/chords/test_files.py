"""Files of chords: with times, ChordPro, text; and what cannot be read."""

import codecs
import random

import pytest

from helpers import midi_files, mutations
from stage.beats.grid import BeatGrid
from stage.chords import read
from stage.errors import MissingFile, StageError

GRID = BeatGrid.regular(120, 4, 16.0)
ROWS = [(0.0, 1.5, "Am"), (1.5, 3.0, "F"), (3.0, 4.0, "C/E")]


def rows(form: str, commas: bool = False) -> str:
    made = (tuple(str(x).replace(".", ",") if commas else str(x) for x in row[:2]) + row[2:] for row in ROWS)
    return "".join(form.format(*row) for row in made)


TIMED = {
    "blanks": rows("{} {} {}\n").encode(),
    "tabs": rows("{}\t{}\t{}\n").encode(),
    "CRLF, blanks around": rows("  {}  {}  {} \r\n").encode() + b"\r\n",
    "commas": rows("{},{},{}\n").encode(),
    "commas and blanks": rows("{}, {}, {}\n").encode(),
    "semicolons": rows("{};{};{}\n").encode(),
    "decimal commas": rows("{};{};{}\n", commas=True).encode(),
    "decimal commas, tabs": rows("{}\t{}\t{}\n", commas=True).encode(),
    "quotes": rows('{},{},"{}"\n').encode(),
    "heading": b"start,end,chord\n" + rows("{},{},{}\n").encode(),
    "comments": b"# my song\n" + rows("{} {} {}\n").encode(),
    "Audacity with frequencies": rows("{}\t{}\t{}\n\\\t100.0\t200.0\n").encode(),
    "UTF-8 with a mark": codecs.BOM_UTF8 + rows("{} {} {}\n").encode(),
    "UTF-16": rows("{} {} {}\n").encode("utf-16"),
    "Latin-1": "# Schläge\n".encode("latin-1") + rows("{} {} {}\n").encode(),
}


@pytest.mark.parametrize("data", TIMED.values(), ids=TIMED)
@pytest.mark.parametrize("suffix", [".txt", ".lab"])
def test_one_chart_in_many_forms(tmp_path, data, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(data)
    assert [(span.start, span.end, span.chord.name) for span in read(str(path))] == ROWS


def write(path, text: str):
    path.write_text(text, encoding="utf-8")
    return path


def test_starts_alone_last_until_the_next(tmp_path):
    path = write(tmp_path / "a.csv", "0.5,N\n1.5,A:min7\n3.0,F\n")
    assert [(s.start, s.end, s.chord.name) for s in read(path, None, 9.0)] == [
        *((0.5, 1.5, "N.C."), (1.5, 3.0, "Am7"), (3.0, 9.0, "F"))
    ]
    assert read(path).spans[-1].end == 3.0 + 1.25


def test_chords_that_end_early_are_remarked(tmp_path):
    path = write(tmp_path / "a.lab", "0 4 C\n")
    assert read(path, None, 5.0).remarks == ()
    assert "end at 4.0 s" in read(path, None, 9.0).remarks[0]


def test_a_file_of_text_for_bars(tmp_path):
    path = write(tmp_path / "a.txt", "# verse\n| Am | F |\n# C#\n| C G |\n")
    assert [s.chord.name for s in read(path, GRID, 6.0)] == ["Am", "F", "C", "G"]


SONG = """{title: A song}
# a [comment]
{start_of_verse}
[Am]Words and [F]words [*softly]
and a line without
{end_of_verse}
{soc}
| [C]la [G7]la | [Dm]la |
{eoc}
{start_of_tab}
e|--3--[x]|
{end_of_tab}
{sog}
A || Am . . . | F . C~G . ||
{eog}
{chorus}
"""


def test_chordpro(tmp_path):
    chart = read(write(tmp_path / "a.cho", SONG), GRID, 16.0)
    assert chart.bars(GRID, 16.0).splitlines() == [
        "| Am | F | C . G7 . | Dm |",
        "| Am | F . G . | C . G7 . | Dm |",
    ]
    assert [(s.start, s.end) for s in chart if s.chord.name in "CG"] == [(4, 5), (11, 11.25), (11.25, 12), (12, 13)]
    assert chart.remarks == ()


def test_chordpro_without_bar_lines_and_with_a_capo(tmp_path):
    chart = read(write(tmp_path / "a.pro", "{capo: 2}\n[Am]la [F/C]la\nla [N.C.]la [G]\n"), GRID, 8.0)
    assert [s.chord.name for s in chart] == ["Bm", "G/D", "N.C.", "A"]
    assert "one chord a bar was assumed" in chart.remarks[0]


def test_words_are_text_and_known_endings_are_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "Am", "nothing")
    assert [s.chord.name for s in read("Am", GRID, 2.0)] == ["Am"]
    write(tmp_path / "song.pdf", "C")
    for name, kind, message in (
        ("Am.lab", MissingFile, "cannot read the chords Am.lab: it does not exist"),
        (tmp_path / "b", MissingFile, "no such file"),
        ("song.pdf", StageError, "chords are read from .lab"),
    ):
        with pytest.raises(kind, match=message):
            read(name, GRID, 2.0)


def test_text_needs_beats(tmp_path):
    for grid in (None, BeatGrid.empty(), BeatGrid([0.5, 1.0], [2, 3]), BeatGrid([30.0, 31.0], [1, 2])):
        with pytest.raises(StageError, match="need beats, with downbeats"):
            read("Am F", grid, 8.0)
    assert read("Am F", GRID).spans[-1].end == 16.0


REFUSED = {
    "empty": ("a.lab", b"", "is empty"),
    "blank": ("a.txt", b" \n\n", "is empty"),
    "overlap": ("a.lab", b"0 2 C\n1 3 F\n", "line 2: a chord begins at 1 s, before the one before it ends"),
    "negative": ("a.lab", b"-1 2 C\n", "line 1: a chord begins at -1 s"),
    "backwards": ("a.lab", b"0 1 C\n\n3 2 F\n", "line 3: a chord ends at 2 s, before it begins"),
    "no number": ("a.lab", b"0 1 C\nzero 2 F\n", 'line 2: expected "start end chord" in seconds, found "zero'),
    "not finite": ("a.lab", b"0 nan C\n", "cannot last from 0 to nan"),
    "samples": ("a.lab", b"0 44100000 C\n", "cannot last from 0 to 4.41e"),
    "no chord": ("a.lab", b"0 1\n", "line 1: expected"),
    "bad chord": ("a.lab", b"0 1 C\n1 2 Q:min\n", 'line 2: "Q:min" is not a chord'),
    "two forms": ("a.lab", b"0 1 C\n1 F\n", "line 2: expected as many times"),
    "nothing lasts": ("a.lab", b"0 0 C\n", "no chord that lasts"),
    "binary": ("a.lab", bytes(range(256)), "is not a file of chords"),
    "binary text": ("a.txt", b"\x00\x01RIFF", "is not a file of chords"),
    "UTF-16 without a mark": ("a.lab", "0 1 C\n".encode("utf-16-le"), "is not a file of chords"),
    "huge": ("a.lab", b"0 1 C\n" * 200_000, "larger than 1 MB"),
    "after the stretch": ("a.lab", b"90 91 C\n", "no chord from 0 to 16 s"),
    "ChordPro without chords": ("a.cho", b"la la\n{soc}\n", "no chords in .brackets."),
    "ChordPro, bad chord": ("a.cho", b"[Am]la [Huh]la\n", 'bar 2: "Huh" is not a chord'),
    "ChordPro, bad capo": ("a.cho", b"{capo: x}\n[Am]la\n", "{capo} is .x.: expected a number"),
    "ChordPro, bad chord moved": ("a.cho", b"{capo: 1}\n[Am]la [Q]la\n", '"Q" is not a chord'),
    "text, bad chord": ("a.txt", b"Am F\nC Q\n", 'a.txt, bar 4: "Q" is not a chord'),
}


@pytest.mark.parametrize("name, data, message", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_is_one_line(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(StageError, match=message) as caught:
        read(tmp_path / name, GRID, 16.0)
    assert len(str(caught.value).splitlines()) == 1


def test_a_folder_is_no_file(tmp_path):
    (tmp_path / "a.lab").mkdir()
    with pytest.raises(StageError, match="cannot read the chords"):
        read(tmp_path / "a.lab")


@pytest.mark.parametrize("name", ["a.lab", "a.txt", "a.csv", "a.cho", "a.mid"])
def test_any_damage_is_one_line_or_a_chart(tmp_path, name):
    draw, path = random.Random(name), tmp_path / name
    whole = {"a.cho": SONG.encode(), "a.mid": midi_files.band(tmp_path / "b.mid").read_bytes()}
    data = whole.get(name, b"| Am | F C |" if name == "a.txt" else rows("{} {} {}\n").encode())
    for _ in range(300):
        path.write_bytes(mutations.damage_bytes(data, draw))
        try:
            chart = read(path, GRID, 16.0)
        except StageError as error:
            assert len(str(error).splitlines()) == 1 and len(str(error)) < 400
        else:
            assert len(chart) and 0 <= chart.spans[0].start and chart.spans[-1].end <= 16.0


def test_any_text_is_one_line_or_a_chart():
    draw = random.Random(0)
    for _ in range(2000):
        written = "".join(draw.choice("ABCDEFGHmaj7/#b.|:% ,()4569+-oN\n♭°é\x00x") for _ in range(draw.randrange(24)))
        try:
            assert len(read(written, GRID, 16.0))
        except StageError as error:
            assert len(str(error).splitlines()) == 1 and len(str(error)) < 400
