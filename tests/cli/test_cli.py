"""The command line: what it writes, and one clear line for everything that cannot be done."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import soundfile

from helpers.commands import commands
from helpers.fakes import song
from stage import audio
from stage.beats.grid import BeatGrid
from stage.cli import app as cli
from stage.cli.lazy import Entry, load
from stage.errors import MissingExtra


def everything(folder: Path = Path(".")) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def stage(*args) -> int:
    return cli.run([str(arg) for arg in args])


# ---------------------------------------------------------------- what it writes


def test_accompany_writes_stem_mix_and_picture(tune, model, capsys):
    code = stage(
        "accompany", tune, "--stem", "drums", "--variations", 2, "--seed", 4, "--grid", "off", "--model", model
    )
    out = capsys.readouterr().out
    assert code == 0
    names = [f"tune-stage/tune.drums.{seed}{end}" for seed in (4, 5) for end in (".wav", ".mix.wav", ".png")]
    assert sorted(everything()) == sorted([*names, "tune.wav"])
    assert out.split() == names
    stem, rate = audio.read("tune-stage/tune.drums.5.wav")
    mix, _ = audio.read("tune-stage/tune.drums.5.mix.wav")
    recording, _ = audio.read(tune)
    assert rate == 44100 and stem.shape == (1, recording.shape[1]) and mix.shape == recording.shape
    assert np.abs(mix - recording - stem).max() < 1e-5  # the mix is the song and the stem, to the sample
    picture = matplotlib.image.imread("tune-stage/tune.drums.4.png")
    assert picture.shape[0] > 400 and picture.std() > 0.05


def test_the_same_seed_makes_the_same_files(tune, model):
    for folder in ("one", "two"):
        assert (
            stage("accompany", tune, "--stem", "bass", "--seed", 3, "--grid", "off", "--model", model, "-o", folder)
            == 0
        )
    assert Path("one/tune.bass.3.wav").read_bytes() == Path("two/tune.bass.3.wav").read_bytes()


def test_a_part_with_beats_of_a_file_and_back(tune, model):
    BeatGrid.regular(120, 4, 3).save("beats.txt")
    code = stage(
        "accompany",
        tune,
        "--stem",
        "drums",
        "--start",
        1,
        "--seconds",
        1.5,
        "--grid",
        "beats.txt",
        "--save-grid",
        "out/again.txt",
        "-o",
        "out",
        "--model",
        model,
    )
    assert code == 0
    assert audio.read("out/tune.drums.0.wav")[0].shape == (1, 66150)
    again = BeatGrid.load("out/again.txt")
    assert np.allclose(again.times, [1.0, 1.5, 2.0]) and list(again.numbers) == [3, 4, 1]


def test_click_writes_whole_bars(tune, model):
    code = stage(
        "click",
        "--bpm",
        90,
        "--meter",
        "3/4",
        "--bars",
        2,
        "--stem",
        "drums",
        "--rate",
        48000,
        "--model",
        model,
        "--guidance",
        1,
        "--top-k",
        5,
        "--top-p",
        0.9,
        "--temperature",
        0.5,
        "--text-guidance",
        2,
        "--prompt",
        "busy",
    )
    assert code == 0
    stem, rate = audio.read("click-90-3-4-stage/click-90-3-4.drums.0.wav")
    assert rate == 48000 and stem.shape == (1, 4 * 48000)
    assert len(everything(Path("click-90-3-4-stage"))) == 3


def test_results_are_replaced_only_with_force(tune, model, capsys):
    args = ("click", "--bpm", 240, "--bars", 1, "--stem", "drums", "--model", model, "-o", "out")
    assert stage(*args) == 0
    before = everything()
    Path("out/click-240-4-4.drums.0.png").unlink()  # one that exists is enough
    assert stage(*args) == 2
    assert "exists: add --force" in capsys.readouterr().err
    assert stage(*args, "--force") == 0
    assert everything().keys() == before.keys()


# ---------------------------------------------------------------- bad input


def test_help_and_version(capsys):
    assert stage("--version") == 0 and capsys.readouterr().out.startswith("stage ")
    for args in ([], *(path.split() for path in commands())):
        assert stage(*args, "--help") == 0
        text = capsys.readouterr().out
        assert "Usage: stage" in text and ("stage accompany song" in text or args != ["accompany"])


ARGUMENTS = {
    "no command": (["banjo"], "No such command 'banjo'"),
    "no song": (["accompany", "--stem", "drums"], "Missing argument"),
    "no stem": (["accompany", "tune.wav"], "Missing option '--stem'"),
    "missing": (["accompany", "nothing.wav", "--stem", "drums"], "nothing.wav does not exist"),
    "folder": (["accompany", ".", "--stem", "drums"], "is a folder"),
    "empty": (["accompany", "empty.wav", "--stem", "drums"], "is empty"),
    "text": (["accompany", "text.wav", "--stem", "drums"], "not audio"),
    "truncated": (["accompany", "cut.wav", "--stem", "drums"], "truncated"),
    "silent": (["accompany", "silent.wav", "--stem", "drums"], "silent"),
    "nan": (["accompany", "nan.wav", "--stem", "drums"], "not numbers"),
    "one sample": (["accompany", "one.wav", "--stem", "drums"], "too short"),
    "hour": (["accompany", "hour.flac", "--stem", "drums"], "longer than the 600 seconds"),
    "unknown stem": (["accompany", "tune.wav", "--stem", "banjo"], 'no "banjo": it plays drums, bass'),
    "start behind the end": (["accompany", "tune.wav", "--stem", "drums", "--start", "9"], "ends at 3.00 seconds"),
    "negative start": (["accompany", "tune.wav", "--stem", "drums", "--start", "-1"], "cannot start at -1"),
    "past the end": (
        ["accompany", "tune.wav", "--stem", "drums", "--start", "1", "--seconds", "5"],
        "ends at 3.00 seconds, before 6.00",
    ),
    "no seconds": (["accompany", "tune.wav", "--stem", "drums", "--seconds", "0"], "too short"),
    "nan seconds": (["accompany", "tune.wav", "--stem", "drums", "--seconds", "nan"], "too short"),
    "no variation": (["accompany", "tune.wav", "--stem", "drums", "--variations", "0"], "0 variations"),
    "seed": (["accompany", "tune.wav", "--stem", "drums", "--seed", "-3"], "-3 is not a seed"),
    "stream": (["accompany", "tune.wav", "--stem", "drums", "--stream", "3"], "no audio stream 3"),
    "grid": (["accompany", "tune.wav", "--stem", "drums", "--grid", "beats.txt"], 'no file "beats.txt"'),
    "metre of a file's beats": (
        ["accompany", "tune.wav", "--stem", "drums", "--grid", "text.wav", "--meter", "5/4"],
        "are for beats that are tracked",
    ),
    "metre of a song": (["accompany", "tune.wav", "--stem", "drums", "--meter", "5"], "metre"),
    "tempo range": (["accompany", "tune.wav", "--stem", "drums", "--tempo-range", "fast"], "like 60-120"),
    "empty tempo range": (["accompany", "tune.wav", "--stem", "drums", "--tempo-range", "90-60"], "lower one first"),
    "bad grid": (["accompany", "tune.wav", "--stem", "drums", "--grid", "text.wav"], "text.wav, line 1"),
    "temperature": (["accompany", "tune.wav", "--stem", "drums", "--temperature", "-1"], "temperature cannot be -1"),
    "top-p": (["click", "--bpm", "100", "--stem", "drums", "--top-p", "2"], "top-p cannot be 2"),
    "guidance": (["click", "--bpm", "100", "--stem", "drums", "--guidance", "nan"], "guidance cannot be nan"),
    "tempo": (["click", "--bpm", "5", "--stem", "drums"], "20 to 400"),
    "tempo in words": (["click", "--bpm", "fast", "--stem", "drums"], "Invalid value for '--bpm'"),
    "metre": (["click", "--bpm", "100", "--meter", "four", "--stem", "drums"], "metre"),
    "bars": (["click", "--bpm", "100", "--bars", "0", "--stem", "drums"], "0 bars"),
    "many bars": (["click", "--bpm", "100", "--bars", "99999", "--stem", "drums"], "choose fewer"),
    "rate": (["click", "--bpm", "100", "--rate", "3", "--stem", "drums"], "a sampling rate of 3 Hz"),
    "out is a file": (["click", "--bpm", "240", "--bars", "2", "--stem", "drums", "-o", "tune.wav"], "is not a folder"),
    "out cannot be": (
        ["click", "--bpm", "240", "--bars", "2", "--stem", "drums", "-o", "/proc/here"],
        "cannot write into",
    ),
    "no model": (["click", "--bpm", "100", "--stem", "drums", "--model", "unheard"], "no model 'unheard'"),
    "foreign model": (["click", "--bpm", "100", "--stem", "drums", "--model", "."], "not a STAGE model"),
    "corrupt model": (
        ["click", "--bpm", "100", "--stem", "drums", "--model", "corrupt"],
        "not a whole safetensors file",
    ),
    "unfitting model": (["click", "--bpm", "100", "--stem", "drums", "--model", "unfitting"], "does not fit"),
}


@pytest.fixture(scope="module")
def bad_folder(model, tmp_path_factory):
    """A folder with a good song and everything that goes wrong."""
    folder = tmp_path_factory.mktemp("bad")
    before = os.getcwd()
    os.chdir(folder)
    recording = song(3.0)
    soundfile.write("tune.wav", recording.T, 44100)
    Path("empty.wav").touch()
    Path("text.wav").write_text("not a song\n" * 99)
    Path("cut.wav").write_bytes(Path("tune.wav").read_bytes()[:100_000])
    soundfile.write("silent.wav", np.zeros((44100 * 2, 2)), 44100)
    soundfile.write("one.wav", np.ones((1, 2)) / 2, 44100)
    recording[0, 9999] = np.nan
    soundfile.write("nan.wav", recording.T, 44100, subtype="FLOAT")
    soundfile.write("hour.flac", np.tile(song(1.0, 8000, 1)[0], 3600), 8000)
    for name, part, content in (
        ("corrupt", "decoder", b"\x08\0\0\0\0\0\0\0{}"),
        ("unfitting", "codec", (model / "decoder.safetensors").read_bytes()),
    ):
        Path(name).mkdir()
        for file in model.iterdir():
            Path(name, file.name).write_bytes(file.read_bytes())
        Path(name, f"{part}.safetensors").write_bytes(content)
    os.chdir(before)
    return folder


def seen(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of every file and folder."""
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}


@pytest.mark.parametrize("kind", ARGUMENTS)
def test_bad_input_gets_one_line_and_code_2(kind, bad_folder, model, capfd, monkeypatch):
    args, message = ARGUMENTS[kind]
    monkeypatch.chdir(bad_folder)
    before = seen(bad_folder)
    capfd.readouterr()
    code = stage(*args, *(["--model", model] if args[0] in ("accompany", "click") and "--model" not in args else []))
    out, err = capfd.readouterr()
    assert code == 2 and out == ""
    assert message in err and err.startswith("stage: ") and err.count("\n") == 1 and "Traceback" not in err
    assert seen(bad_folder) == before


def test_an_hour_works_in_part(tune, bad_folder, model):
    assert (
        stage(
            "accompany",
            bad_folder / "hour.flac",
            "--stem",
            "drums",
            "--start",
            3000,
            "--seconds",
            2,
            "--grid",
            "off",
            "--model",
            model,
            "-o",
            "out",
        )
        == 0
    )
    assert audio.read("out/hour.drums.0.wav")[0].shape == (1, 16000)


@pytest.mark.parametrize("rate, channels, subtype", [(8000, 1, "PCM_U8"), (192000, 2, "PCM_24"), (48000, 6, "PCM_16")])
def test_unusual_files_work(tune, model, rate, channels, subtype):
    soundfile.write("odd.wav", song(1.5, rate, channels).T, rate, subtype=subtype)
    assert stage("accompany", "odd.wav", "--stem", "drums", "--grid", "off", "--model", model) == 0
    mix, got = audio.read("odd-stage/odd.drums.0.mix.wav")
    assert got == rate and mix.shape == (channels, round(1.5 * rate))


@pytest.mark.parametrize(
    "words, match",
    [
        (["--count-in", "-1"], "a count-in of -1 bars"),
        (["--count-in", "1", "-o", "-"], "leave out --count-in with --play"),
    ],
)
def test_a_count_in_that_cannot_be_is_refused(tmp_path, monkeypatch, capsys, words, match):
    monkeypatch.chdir(tmp_path)
    assert stage("click", "--bpm", "96", "--stem", "drums", *words) == 2
    err = capsys.readouterr().err
    assert match in err and err.count("\n") == 1 and not list(tmp_path.iterdir())


def test_an_unexpected_error_is_a_line_too(tune, monkeypatch, capsys):
    def fail(*_):
        raise ZeroDivisionError("over\nthere")

    monkeypatch.setattr("stage.cli.results.plan", fail)
    assert stage("accompany", tune, "--stem", "drums") == 1
    err = capsys.readouterr().err
    assert "unexpected error" in err and "ZeroDivisionError: over there" in err and err.count("\n") == 1
    monkeypatch.setenv("STAGE_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        stage("accompany", tune, "--stem", "drums")


def test_a_missing_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "command_without_feathers.py").write_text("import feathers_that_nobody_has\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingExtra, match=r"feathers_that_nobody_has.* pip install 'stage-music\[train\]'"):
        load("stage fly", "fly", Entry("command_without_feathers:fly", "Fly.", extra="train"))


# ---------------------------------------------------------------- as a process


def process(*args, **kwargs) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "stage", *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **kwargs,
    )


def test_help_does_not_wait_for_torch():
    code = (
        "import sys; from stage.cli import app as cli; cli.run(['--help']);"
        " print([m for m in ('torch', 'transformers', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_stopping_leaves_no_file(tune, model, how):
    soundfile.write("long.wav", np.tile(song(3.0), 100).T, 44100)
    Path("long-stage").mkdir()
    running = process("accompany", "long.wav", "--stem", "drums", "--variations", 64, "--grid", "off", "--model", model)
    time.sleep(5)  # past the imports, minutes before the end
    assert running.poll() is None, running.communicate()
    started = time.monotonic()
    running.send_signal(how)
    out, err = running.communicate(timeout=10)
    # Python itself answers with the signal if it came in the middle of an import.
    assert running.returncode in (130, -signal.SIGINT) and time.monotonic() - started < 5
    assert err == "stage: stopped; unfinished results were not kept\n" and out == ""
    assert os.listdir("long-stage") == []
