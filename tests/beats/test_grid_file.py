import codecs

import numpy as np
import pytest

from stage.beats.grid import BeatGrid
from stage.errors import StageError

TIMES = np.arange(0.5, 8, 0.5)
NUMBERS = np.arange(len(TIMES)) % 4 + 1
ROWS = [(f"{time:g}", f"{number}") for time, number in zip(TIMES, NUMBERS)]


def lines(form: str, commas: bool = False) -> str:
    """Each beat as `form`, with {0} for the time and {1} for the number; commas: as decimal marks."""
    rows = ((time.replace(".", ","), number) if commas else (time, number) for time, number in ROWS)
    return "".join(form.format(*row) for row in rows)


READABLE = {
    "plain": lines("{} {}\n").encode(),
    "tabs": lines("{}\t{}\n").encode(),
    "blanks around": lines("  {}   {}  \n").encode() + b"\n  \n",
    "CRLF": lines("{} {}\r\n").encode(),
    "CR": lines("{} {}\r").encode(),
    "UTF-8 with a mark": codecs.BOM_UTF8 + lines("{} {}\n").encode(),
    "UTF-16": lines("{} {}\n").encode("utf-16"),
    "UTF-16 big-endian": codecs.BOM_UTF16_BE + lines("{} {}\n").encode("utf-16-be"),
    "UTF-32": lines("{} {}\n").encode("utf-32"),
    "Latin-1 comment": "# Schläge\n".encode("latin-1") + lines("{} {}\n").encode(),
    "comments": b"# beats\n" + lines("{} {} # here\n").encode(),
    "CSV": lines("{},{}\n").encode(),
    "CSV with blanks": lines("{}, {}\n").encode(),
    "CSV in quotes": lines('"{}","{}"\n').encode(),
    "CSV with a heading": b"time,beat\n" + lines("{},{}\n").encode(),
    "CSV with tempi": lines("{},{},120\n").encode(),
    "semicolons": lines("{};{}\n").encode(),
    "decimal commas": lines("{} {}\n", commas=True).encode(),
    "decimal commas, semicolons": lines("{};{}\n", commas=True).encode(),
    "time, number, tempo": lines("{} {} 120.0\n").encode(),
    "time, number, slow tempo": lines("{} {} 90\n").encode(),
    "Audacity": lines("{0}\t{0}\t{1}\n").encode(),
    "Audacity, decimal commas": lines("{0}\t{0}\t{1}\n", commas=True).encode(),
    "Audacity with frequencies": lines("{0}\t{0}\t{1}\n\\\t100.0\t200.0\n").encode(),
    "numbers as 1.0": lines("{} {}.0\n").encode(),
}


@pytest.mark.parametrize("data", READABLE.values(), ids=READABLE)
def test_one_grid_in_many_forms(tmp_path, data):
    path = tmp_path / "beats.txt"
    path.write_bytes(data)
    grid = BeatGrid.load(path)
    assert grid.times == pytest.approx(TIMES) and grid.numbers.tolist() == NUMBERS.tolist()


REFUSED = {
    "times alone": (b"0.5\n1.0\n", "line 1: expected .seconds number."),
    "times alone, decimal commas": (b"0,5\n1,0\n1,5\n", "line 1: expected|count from 1"),
    "times alone, decimal commas, off the half": (b"1,5\n2,5\n3,5\n", "expected .seconds number."),
    "bar.beat": (b"0.5 1.1\n1.0 1.2\n", "line 1"),
    "a bad line": (b"0.5 1\n1.0 2\n1.5 three\n", "line 3: .*1.5 three"),
    "not numbers at all": (b"not a song\n" * 9, "line 1: .*not a song"),
    "counted from 0": (b"0.5 0\n1.0 1\n", "count from 1"),
    "falling": (b"1.0 1\n0.5 2\n", "rising"),
    "nan": (b"nan 1\n1.0 2\n", "finite"),
    "milliseconds": (b"500 1\n1000 2\n1500 3\n", "milliseconds"),
    "tempi in the second column": (b"0.5 120\n1.0 120\n", "line 1"),
    "two readings": (b"0,5,1\n1,5,2\n2,5,3\n", "expected .seconds number.|2 ways"),
    "regions at whole seconds": (b"1 2 1\n2 3 2\n3 4 3\n", "2 ways"),
    "binary": (np.random.default_rng(0).bytes(400), "not a file of beats"),
    "UTF-16 without a mark": ("0.5 1\n".encode("utf-16-le"), "not a file of beats"),
    "a song": (b"RIFF\x00\x00\x00\x00WAVEfmt ", "not a file of beats"),
}


@pytest.mark.parametrize("data, message", REFUSED.values(), ids=REFUSED)
def test_what_is_not_clear_is_refused_in_one_line(tmp_path, data, message):
    path = tmp_path / "beats.txt"
    path.write_bytes(data)
    with pytest.raises(StageError, match=message) as refused:
        BeatGrid.load(path)
    assert "\n" not in str(refused.value) and "beats.txt" in str(refused.value)


def test_decimal_commas_between_commas_are_read_where_nothing_else_fits(tmp_path):
    path = tmp_path / "beats.txt"
    path.write_text("".join(f"{time.replace('.', ',') if '.' in time else time + ',0'},{n}\n" for time, n in ROWS))
    assert BeatGrid.load(path).times == pytest.approx(TIMES)


def test_random_files_are_grids_or_one_line(tmp_path):
    draws = np.random.default_rng(3)
    path = tmp_path / "beats.txt"
    for _ in range(300):
        path.write_bytes("".join(draws.choice(list("0123456789.,;\t \n-#ae+é\"'"), 40)).encode())
        try:
            BeatGrid.load(path)
        except StageError as error:
            assert "\n" not in str(error)


def test_a_folder_and_a_missing_file(tmp_path):
    for path in (tmp_path, tmp_path / "none.txt", tmp_path / "a\0b"):
        with pytest.raises(StageError, match="cannot read"):
            BeatGrid.load(path)
