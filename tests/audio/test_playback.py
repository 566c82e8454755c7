"""`-o -` and `--play`: what arrives in a pipe, and that nothing is left running or printed when the reader ends."""

import contextlib
import errno
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from helpers.fakes import song
from stage import StageError, audio
from stage.audio import playback as playing
from stage.audio.level import CEILING, limit
from stage.cli import app as cli
from stage.errors import ReaderGone
from stage.pipeline import Stage


def program(path: str, code: str) -> str:
    """A player: a Python program that reads standard input. Returns its command line."""
    Path(path).write_text(code)
    return f"{sys.executable} {Path(path).resolve()}"


def process(*args, **kwargs) -> subprocess.Popen:
    command = [sys.executable, "-m", "stage", *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kwargs)


def arguments(tune, model, *more):
    return ["accompany", tune, "--stem", "drums", "--grid", "off", "--model", model, *more]


def plain(model, **values) -> np.ndarray:
    recording, rate = audio.read("tune.wav")
    return (
        Stage.from_pretrained(model, device="cpu")
        .accompany(recording, rate, "drums", grid="off", level=False, **values)
        .stems[0]
    )


# ---------------------------------------------------------------- a pipe


def test_raw_samples_in_a_pipe_are_the_plain_stem(tune, model):
    running = process(*arguments(tune, model, "-o", "-", "--raw", "--gain", "-6", "--seed", 3))
    out, err = running.communicate(timeout=120)
    assert running.returncode == 0, err
    stem = np.frombuffer(out, "<f4")
    assert np.abs(stem - 10 ** (-6 / 20) * plain(model, seed=3)).max() < 1e-4
    assert err.decode().strip() == "stage: float32, little endian, 1 channel, 44100 Hz"
    assert os.listdir(".") == ["tune.wav"]  # no folder, no files


def test_a_wav_in_a_pipe_is_whole_and_never_clips(tune, model):
    running = process(*arguments(tune, model, "-o", "-", "--gain", "30", "--save-grid", "beats.txt", "--grid", "on"))
    out, err = running.communicate(timeout=120)
    assert running.returncode == 0, err
    stem, rate = soundfile.read(io.BytesIO(out), dtype="float32")
    assert rate == 44100 and stem.shape == (3 * 44100,) and len(out) == 44 + 2 * len(stem)
    assert 0.9 < np.abs(stem).max() <= CEILING + 1e-4  # brought to the ceiling, not cut off
    assert not np.all(stem[1:][np.abs(stem[1:]) > 0.97] == stem[:-1][np.abs(stem[1:]) > 0.97])
    assert Path("beats.txt").exists() == (b"beats.txt" in err)


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="FFmpeg's program is not installed")
def test_other_programs_read_the_pipe(tune, model):
    first = process(*arguments(tune, model, "-o", "-"))
    second = subprocess.run(
        ["ffmpeg", "-loglevel", "error", "-i", "pipe:0", "-f", "s16le", "pipe:1"],
        stdin=first.stdout,
        capture_output=True,
        timeout=120,
    )
    assert first.wait(timeout=60) == 0 and second.returncode == 0 and second.stderr == b""
    assert len(second.stdout) == 2 * 3 * 44100


def test_a_reader_that_goes_ends_it_quietly(tune, model):
    soundfile.write("long.wav", np.tile(song(3.0), 40).T, 44100)
    running = process(*arguments("long.wav", model, "-o", "-"))
    assert running.stdout.read(3000)[:4] == b"RIFF"
    running.stdout.close()
    assert running.wait(timeout=60) == 141
    assert running.stderr.read() == b""


def test_making_waits_for_the_reader(tune, model):
    """A pipe that is not read holds 64 kB; the program must not make the rest in the meantime."""
    soundfile.write("long.wav", np.tile(song(3.0), 40).T, 44100)
    running = process(*arguments("long.wav", model, "-o", "-"))
    try:
        assert running.stdout.read(1) == b"R"
        time.sleep(3)
        used = [Path(f"/proc/{running.pid}/stat").read_text().split()[13]] if sys.platform == "linux" else []
        time.sleep(1)
        assert running.poll() is None
        if used:  # clock ticks of 10 ms: it sleeps
            assert int(Path(f"/proc/{running.pid}/stat").read_text().split()[13]) - int(used[0]) < 20
        running.send_signal(signal.SIGINT)
        running.stdout.close()
        assert running.wait(timeout=30) in (130, 141)
    finally:
        running.kill()


# ---------------------------------------------------------------- a player


def run(*args) -> int:
    return cli.run([str(arg) for arg in args])


def test_the_player_gets_the_mix_and_the_files_are_as_usual(tune, model, monkeypatch, capsys):
    monkeypatch.setenv(
        "STAGE_PLAYER", program("player.py", "import sys; open('played.wav', 'wb').write(sys.stdin.buffer.read())")
    )
    assert run(*arguments(tune, model, "--play", "--gain", "-12", "--variations", 2)) == 0
    assert "note:" not in capsys.readouterr().err
    assert len(list(Path("tune-stage").iterdir())) == 6
    played, rate = soundfile.read("played.wav", dtype="float32")
    recording, _ = audio.read(tune)
    wanted = limit(recording + np.float32(10 ** (-12 / 20)) * plain(model), 44100)
    assert rate == 44100 and played.shape == (3 * 44100, 2) and np.abs(played.T - wanted).max() < 2e-4
    assert run(*arguments(tune, model, "-o", "silently", "--variations", 2)) == 0
    for name in ("tune.drums.0.wav", "tune.drums.1.mix.wav"):
        assert np.abs(audio.read(f"tune-stage/{name}")[0] - audio.read(f"silently/{name}")[0]).max() < 1e-4


def test_a_metronome_is_played_with_its_clicks(tune, model, monkeypatch):
    monkeypatch.setenv(
        "STAGE_PLAYER", program("player.py", "import sys; open('played.wav', 'wb').write(sys.stdin.buffer.read())")
    )
    assert run("click", "--bpm", 120, "--bars", 1, "--stem", "drums", "--model", model, "--play", "--gain", "-60") == 0
    played, rate = soundfile.read("played.wav", dtype="float32")
    assert (
        rate == 32000
        and played.shape == (64000,)
        and np.abs(played[:3200]).max() > 0.2
        and np.abs(played[5000:15000]).max() < 0.01
    )


@pytest.mark.parametrize(
    "code, reason",
    [("raise SystemExit('no loudspeaker')", "no loudspeaker"), ("import sys; sys.stdin.buffer.read(100)", "")],
)
def test_a_player_that_fails_is_reported_and_the_files_are_there(tune, model, monkeypatch, capsys, code, reason):
    soundfile.write("tune.wav", song(12.0).T, 44100)  # more than a pipe holds
    monkeypatch.setenv("STAGE_PLAYER", program("player.py", code))
    assert run(*arguments(tune, model, "--play")) == 0
    err = capsys.readouterr().err
    assert "did not play all" in err and reason in err and err.count("note:") == 1
    assert len(list(Path("tune-stage").iterdir())) == 3


def test_stopping_leaves_no_player(tune, model, monkeypatch):
    soundfile.write("long.wav", np.tile(song(3.0), 100).T, 44100)
    player = program("player.py", "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(600)")
    running = process(*arguments("long.wav", model, "--play"), env={**os.environ, "STAGE_PLAYER": player})
    until = time.monotonic() + 60
    while not (Path("pid").exists() and Path("pid").read_text()):
        assert time.monotonic() < until and running.poll() is None
        time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=30)
    assert running.returncode == 130 and out == b"" and err.count(b"\n") == 1
    with pytest.raises(ProcessLookupError):
        os.kill(int(Path("pid").read_text()), 0)
    assert not Path("long-stage").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_while_the_player_begins_leaves_none(monkeypatch, number):
    """It arrives when the program runs already, and nobody knows of it yet; the command line takes SIGTERM for it."""
    begun, before = [], signal.signal(number, signal.default_int_handler)

    def spawned(*given, real=subprocess.Popen, **options):
        begun.append(real(*given, **options))
        os.kill(os.getpid(), number)
        time.sleep(0.01)
        return begun[0]

    monkeypatch.setattr(playing.subprocess, "Popen", spawned)
    stream = contextlib.nullcontext(SimpleNamespace())
    stream.song, stream.rate, stream.samples = np.zeros((1, 100), np.float32), 44100, 100
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    with pytest.raises(KeyboardInterrupt), playing.ProgramPlayer(command) as player:
        player.take(stream)
    assert begun[0].poll() is not None
    assert signal.signal(number, before) is signal.default_int_handler


def test_the_first_player_that_is_there_is_taken(monkeypatch, tmp_path):
    monkeypatch.delenv("STAGE_PLAYER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StageError, match=r"no player is installed \(ffplay, play, mpv, aplay, paplay\)"):
        playing.find_program()
    for name in ("paplay", "play"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    assert playing.find_program() == ["play", "-q", "-t", "wav", "-"]
    monkeypatch.setenv("STAGE_PLAYER", "play -t 'a b'")
    assert playing.find_program() == ["play", "-t", "a b"]
    monkeypatch.setenv("STAGE_PLAYER", "gramophone -")
    with pytest.raises(StageError, match="names gramophone, which is not there"):
        playing.find_program()
    monkeypatch.setenv("STAGE_PLAYER", "'play")
    with pytest.raises(StageError, match="not a command line"):
        playing.find_program()


@pytest.mark.parametrize(
    "line, posix, words",
    [
        (r"C:\Tools\mpv.exe --no-video -", False, [r"C:\Tools\mpv.exe", "--no-video", "-"]),
        (r'"C:\Program Files\mpv.exe" -', False, [r"C:\Program Files\mpv.exe", "-"]),
        ("'/opt/my player' -", True, ["/opt/my player", "-"]),
    ],
)
def test_command_lines_of_both_kinds_of_systems(line, posix, words):
    assert playing.split_command(line, posix) == words


@pytest.mark.parametrize(
    "error, name, gone",
    [
        (BrokenPipeError(errno.EPIPE, "closed"), "posix", True),
        (OSError(errno.EINVAL, "invalid"), "nt", True),
        (OSError(errno.EINVAL, "invalid"), "posix", False),
        (OSError(errno.ENOSPC, "full"), "nt", False),
    ],
)
def test_a_closed_pipe_and_a_full_disk_are_different_errors(monkeypatch, error, name, gone):
    class Out:
        class buffer:
            @staticmethod
            def write(data):
                raise error

        @staticmethod
        def fileno():
            raise ValueError

    monkeypatch.setattr(playing.os, "name", name)
    monkeypatch.setattr(sys, "stdout", Out)
    with pytest.raises(ReaderGone if gone else StageError):
        playing.Pipe(True)._write(b"x")


# ---------------------------------------------------------------- a sound device


class Device:
    """A module like `sounddevice`, whose output is a list; `fails` names what does not work."""

    class PortAudioError(Exception):
        pass

    def __init__(self, channels=2, fails=""):
        self.played, self.calls, self.fails, self.channels = [], [], fails, channels
        device = self

        class OutputStream:
            def __init__(self, samplerate, channels, dtype):
                device.form = (samplerate, channels, dtype)

            def write(self, frames):
                if device.fails == "write":
                    raise device.PortAudioError("the device went away")
                device.played.append(frames.copy())

            def __getattr__(self, name):
                return lambda: device.calls.append(name)

        self.OutputStream = OutputStream

    def query_devices(self, kind):
        assert kind == "output"
        if self.fails == "query":
            raise self.PortAudioError("no default output device")
        return {"max_output_channels": self.channels}


@pytest.fixture
def device(monkeypatch):
    """Pretends that sounddevice is installed; call it with what `Device` takes."""

    def install(*args, **kwargs):
        made = Device(*args, **kwargs)
        monkeypatch.delenv("STAGE_PLAYER", raising=False)
        monkeypatch.setitem(sys.modules, "sounddevice", made)
        return made

    return install


def test_a_sound_device_is_the_first_choice(device, tune, model, capsys):
    sounds = device()
    assert run(*arguments(tune, model, "--play", "--gain", "-12")) == 0
    assert "note:" not in capsys.readouterr().err and sounds.form == (44100, 2, "float32")
    recording, _ = audio.read(tune)
    wanted = limit(recording + np.float32(10 ** (-12 / 20)) * plain(model), 44100)
    assert np.abs(np.concatenate(sounds.played).T - wanted).max() < 1e-4
    assert sounds.calls[:2] == ["start", "stop"]


def test_a_device_with_one_channel_plays_the_mean(device, tune, model):
    sounds = device(channels=1)
    assert run(*arguments(tune, model, "--play", "--gain", "-60")) == 0
    recording, _ = audio.read(tune)
    assert sounds.form[1] == 1 and np.abs(np.concatenate(sounds.played)[:, 0] - recording.mean(0)).max() < 2e-3


def test_a_device_that_fails_is_reported_and_the_files_are_there(device, tune, model, capsys):
    device(fails="write")
    assert run(*arguments(tune, model, "--play")) == 0
    err = capsys.readouterr().err
    assert "the default sound device did not play all: the device went away" in err and err.count("note:") == 1
    assert len(list(Path("tune-stage").iterdir())) == 3


def test_without_a_device_or_with_a_player_named_a_program_plays(device, monkeypatch):
    device(fails="query")
    monkeypatch.setattr(playing.shutil, "which", lambda name: name if name == "mpv" else None)
    assert playing.find_player().command[0] == "mpv"
    device()
    assert isinstance(playing.find_player(), playing.DevicePlayer)
    monkeypatch.setattr(playing.shutil, "which", lambda name: name)
    monkeypatch.setenv("STAGE_PLAYER", "aplay -q -")
    assert playing.find_player().command == ["aplay", "-q", "-"]
    monkeypatch.delenv("STAGE_PLAYER")
    monkeypatch.setitem(sys.modules, "sounddevice", None)  # not installed
    assert playing.find_player().command[0] == "ffplay"


# ---------------------------------------------------------------- what does not go together


@pytest.mark.parametrize(
    "more, message",
    [
        (["-o", "-", "--variations", "2"], "one stem at a time"),
        (["-o", "-", "--play"], "choose one of them"),
        (["--raw"], "add -o -"),
        (["--raw", "--play"], "add -o -"),
        (["--gain", "3"], "add --play or -o -"),
        (["-o", "-", "--gain", "nan"], "a gain of nan dB is out of range"),
        (["-o", "-", "--save-grid", "tune.wav"], "tune.wav exists"),
    ],
)
def test_what_does_not_go_together_is_one_line(tune, model, monkeypatch, capfdbinary, more, message):
    monkeypatch.setenv("STAGE_PLAYER", sys.executable)
    assert run(*arguments(tune, model, *more)) == 2
    out, err = capfdbinary.readouterr()
    assert out == b"" and message in err.decode() and err.count(b"\n") == 1
    assert os.listdir(".") == ["tune.wav"]


def test_sound_is_not_written_on_a_terminal(monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    with pytest.raises(StageError, match="a terminal cannot show"):
        playing.choose(Path("-"), False, False, None, 1)
