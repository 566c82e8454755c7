"""Where a stem goes while it is made: into a pipe (`-o -`) or to the loudspeakers (`--play`)."""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from stage.errors import ReaderGone, StageError

if TYPE_CHECKING:
    import numpy as np

    from stage.generation.result import Accompaniment
    from stage.generation.streaming import Stream

PLAYERS = (
    "ffplay -nodisp -autoexit -loglevel error -i pipe:0",
    "play -q -t wav -",
    "mpv --no-video --no-terminal -",
    "aplay -q -",
    "paplay --raw --format=s16le --rate={rate} --channels={channels}",
)
"""Programs that play sound from their standard input as it comes, the first that is installed is taken."""

HEADER_BYTES = 44


class Output(Protocol):
    """Takes the sound of a stream. In a `with`, so that nothing is left running."""

    def take(self, stream: Stream) -> Accompaniment:
        """Take the whole stream, each chunk as soon as it is there. Returns the finished result."""
        ...

    def wait(self) -> None:
        """Until all that was made has been played."""
        ...

    def __enter__(self) -> Output: ...

    def __exit__(self, *_: object) -> None: ...


def is_pipe(out: Path | None) -> bool:
    """Whether the results go to standard output."""
    return out is not None and str(out) == "-"


def choose(out: Path | None, play: bool, raw: bool, gain: float | None, variations: int) -> Output | None:
    """Where the stem goes while it is made, None if only into files. StageError for what does not go together."""
    if is_pipe(out):
        if play:
            raise StageError("-o - writes the stem into a pipe and --play plays it: choose one of them")
        if variations > 1:
            raise StageError(
                f"one stem at a time goes into a pipe, not {variations}: leave out --variations, or name a folder"
            )
        if sys.stdout.isatty():
            raise StageError("-o - writes sound, which a terminal cannot show: pipe it into a player or a file")
        return Pipe(raw)
    if raw:
        raise StageError("--raw is for sound in a pipe: add -o -")
    if play:
        return find_player()
    if gain is not None:
        raise StageError(
            "--gain is for sound that is played while it is made: add --play or -o -. The files have the song's level"
        )
    return None


def find_player() -> Player:
    """The program of $STAGE_PLAYER, or the loudspeakers by sounddevice, or the first of PLAYERS that is installed.

    Raises StageError if there is none.
    """
    if os.environ.get("STAGE_PLAYER", "").strip():
        return ProgramPlayer(find_program())
    if device := _sounddevice():
        return DevicePlayer(device)
    return ProgramPlayer(find_program())


# ---------------------------------------------------------------- a pipe


class Pipe:
    """Writes the stem to standard output: WAV with 16 bits, or without header in float32; waits for the reader."""

    def __init__(self, raw: bool):
        self.raw = raw

    def __enter__(self) -> Pipe:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing runs beside the program."""

    def take(self, stream: Stream) -> Accompaniment:
        """See `Output`. Raises ReaderGone when the reader has closed the pipe."""
        import numpy as np

        from stage.audio.streams import Limiter

        limiter = Limiter(stream.rate)
        with stream:
            if self.raw:
                if sys.stderr is not None:
                    count = "1 channel" if stream.channels == 1 else f"{stream.channels} channels, interleaved"
                    print(f"stage: float32, little endian, {count}, {stream.rate} Hz", file=sys.stderr)
            else:
                self._write(wav_header(stream.rate, stream.channels, stream.samples))
            for chunk in stream:
                one = np.atleast_2d(chunk[0])
                self._write(one.T.astype("<f4").tobytes() if self.raw else pcm16(limiter.push(one)))
            if not self.raw:
                self._write(pcm16(limiter.push(np.zeros((stream.channels, 0), np.float32), last=True)))
        return stream.finish()

    def _write(self, data: bytes) -> None:
        try:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        except OSError as error:
            if not _reader_gone(error):
                raise StageError(f"cannot write to standard output: {error.strerror or error}") from None
            # what the interpreter still flushes at its end must go somewhere
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise ReaderGone from None

    def wait(self) -> None:
        """All is written."""


def _reader_gone(error: OSError) -> bool:
    """Whether writing failed because the other end of the pipe is closed; Windows calls that an invalid argument."""
    return isinstance(error, BrokenPipeError) or (os.name == "nt" and error.errno == errno.EINVAL)


# ---------------------------------------------------------------- loudspeakers


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C, and what the command line takes for it, waits for the end of the block: what begins within it is known to
    who stops it. Elsewhere than in the main thread, where none arrives, nothing is changed."""
    before: dict[int, Any] = {}
    came: list[tuple[int, Any]] = []
    if threading.current_thread() is threading.main_thread():
        found = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        before = {number: handler for number, handler in found.items() if callable(handler)}
    for number in before:
        signal.signal(number, lambda *given: came.append(given))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        before[came[0][0]](*came[0])


class Player:
    """Plays song and stem together, from memory: making does not wait for it.

    Subclasses open, feed and stop what sounds; `_feed` runs in a thread of its own.
    """

    name: str

    def __init__(self) -> None:
        self.incomplete = False  # playing ended before the sound
        self.started = False
        self.blocks: queue.SimpleQueue[np.ndarray | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._feed, name="stage-player", daemon=True)

    def _open(self, rate: int, channels: int, samples: int) -> None:
        """Begin to play a sound of this form. Raises StageError where that cannot be."""
        raise NotImplementedError

    def _feed(self) -> None:
        """Hand on the blocks [C, n] at the player's pace, until None comes or the player ends."""
        raise NotImplementedError

    def _stop(self) -> None:
        """Stop at once, whatever still plays."""
        raise NotImplementedError

    def _finish(self) -> str:
        """Wait until all has been played. Returns why not all was, "" where nothing is known to have failed."""
        raise NotImplementedError

    def __enter__(self) -> Player:
        return self

    def __exit__(self, *_: object) -> None:
        """Whatever still plays is stopped."""
        if self.started:
            self._stop()

    def take(self, stream: Stream) -> Accompaniment:
        """See `Output`; the first variation is played."""
        from stage.audio.streams import Limiter

        song, limiter, done = stream.song, Limiter(stream.rate), 0
        with stream:
            with _uninterrupted():
                self._open(stream.rate, len(song), stream.samples)
                self.started = True
                self.thread.start()
            for chunk in stream:
                mixed = song[:, done : done + chunk.shape[-1]].copy()
                mixed[:2] += chunk[0]
                done += chunk.shape[-1]
                self.blocks.put(limiter.push(mixed, last=done == stream.samples))
        self.blocks.put(None)
        return stream.finish()

    def wait(self) -> None:
        """Until all has been played; Ctrl-C ends it. Reports a player that ended before the sound."""
        try:
            self.thread.join()
            why = self._finish()
        except KeyboardInterrupt:
            return
        if (self.incomplete or why) and sys.stderr is not None:
            # some players end with 0 even where there is nothing to play on
            reason = f": {why}" if why else ""
            print(f"note: {self.name} did not play all{reason}. $STAGE_PLAYER names another", file=sys.stderr)


class ProgramPlayer(Player):
    """Plays by another program that reads WAV, or raw samples, from its standard input."""

    def __init__(self, command: list[str]) -> None:
        super().__init__()
        self.command, self.name = command, f"the player {command[0]}"
        self.process: subprocess.Popen | None = None
        self.messages: IO[bytes] | None = None

    def _open(self, rate: int, channels: int, samples: int) -> None:
        command = [part.replace("{rate}", str(rate)).replace("{channels}", str(channels)) for part in self.command]
        self.header = b"" if "--raw" in command else wav_header(rate, channels, samples)
        self.messages = tempfile.TemporaryFile()
        try:
            # a session of its own: Ctrl-C ends this program, and `_stop` the player
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self.messages, start_new_session=True
            )
        except OSError as error:
            self.messages.close()
            raise StageError(
                f"cannot start the player {command[0]}: {error.strerror}. Name another in $STAGE_PLAYER"
            ) from None

    def _feed(self) -> None:
        try:
            with self.process.stdin as pipe:
                pipe.write(self.header)
                while (block := self.blocks.get()) is not None:
                    pipe.write(pcm16(block))
                    pipe.flush()
        except OSError:
            self.incomplete = True

    def _stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.blocks.put(None)
        self.thread.join()
        self.messages.close()

    def _finish(self) -> str:
        self.incomplete |= self.process.wait() != 0
        self.messages.seek(0)
        lines = self.messages.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""


class DevicePlayer(Player):
    """Plays on the system's default output by sounddevice (PortAudio)."""

    name = "the default sound device"

    def __init__(self, device: Any) -> None:
        """device: the module `sounddevice`."""
        super().__init__()
        self.device, self.why, self.stopped = device, "", threading.Event()

    def _open(self, rate: int, channels: int, samples: int) -> None:
        try:
            most = self.device.query_devices(kind="output")["max_output_channels"]
            # a device with too few channels gets the mean of all
            self.channels = channels if channels <= most else 1
            self.output = self.device.OutputStream(samplerate=rate, channels=self.channels, dtype="float32")
            self.output.start()
        except (self.device.PortAudioError, ValueError, OSError) as error:
            raise StageError(
                f"cannot play on the default sound device: {error}. Name a player in $STAGE_PLAYER"
            ) from None

    def _feed(self) -> None:
        import numpy as np

        try:
            while (block := self.blocks.get()) is not None and not self.stopped.is_set():
                frames = (block if len(block) == self.channels else block.mean(0, keepdims=True)).T
                # in short pieces, so that stopping takes effect
                for piece in np.array_split(frames, max(1, len(frames) // 4096)):
                    if self.stopped.is_set():
                        return
                    self.output.write(np.ascontiguousarray(piece, np.float32))
        except (self.device.PortAudioError, OSError) as error:
            self.incomplete, self.why = True, str(error)

    def _stop(self) -> None:
        self.stopped.set()
        self.blocks.put(None)
        self.thread.join()
        with contextlib.suppress(self.device.PortAudioError, OSError):
            self.output.abort()
            self.output.close()

    def _finish(self) -> str:
        if not self.incomplete:
            try:
                self.output.stop()  # plays what is still in its buffer
            except (self.device.PortAudioError, OSError) as error:
                return str(error)
        return self.why


def _sounddevice() -> Any | None:
    """The module `sounddevice`, if it is installed, finds PortAudio, and there is a device to play on."""
    try:
        import sounddevice
    except (ImportError, OSError):
        return None
    try:
        sounddevice.query_devices(kind="output")
    except (sounddevice.PortAudioError, ValueError):
        return None
    return sounddevice


def find_program() -> list[str]:
    """The program of $STAGE_PLAYER, or the first of PLAYERS that is installed; StageError if there is none."""
    named = os.environ.get("STAGE_PLAYER", "").strip()
    if named:
        try:
            command = split_command(named)
        except ValueError as error:
            raise StageError(f"$STAGE_PLAYER is not a command line ({error}): {named}") from None
        if not command or not shutil.which(command[0]):
            raise StageError(
                f"$STAGE_PLAYER names {command[0] if command else named}, which is not there: name a program that plays"
                " WAV from its input"
            )
        return command
    for line in PLAYERS:
        if shutil.which(line.split()[0]):
            return line.split()
    names = ", ".join(line.split()[0] for line in PLAYERS)
    raise StageError(
        f"no player is installed ({names}): pip install 'stage-music[play]', install FFmpeg, or name a program in"
        " $STAGE_PLAYER that plays WAV from its input"
    )


def split_command(line: str, posix: bool = os.name != "nt") -> list[str]:
    """The words of a command line. Where backslashes separate folders (posix=False) they are kept, quotes are not."""
    if posix:
        return shlex.split(line)
    return [
        word[1:-1] if len(word) > 1 and word[0] == word[-1] == '"' else word for word in shlex.split(line, posix=False)
    ]


# ---------------------------------------------------------------- samples


def wav_header(rate: int, channels: int, samples: int) -> bytes:
    """The first 44 bytes of a WAV with 16 bits and `samples` for each channel, which need not be there yet."""
    size = 2 * channels * samples
    form = struct.pack("<HHIIHH", 1, channels, rate, 2 * channels * rate, 2 * channels, 16)
    return struct.pack("<4sI4s4sI16s4sI", b"RIFF", HEADER_BYTES - 8 + size, b"WAVE", b"fmt ", 16, form, b"data", size)


def pcm16(audio: np.ndarray) -> bytes:
    """Audio [C, n] as 16-bit samples, little endian, channels interleaved; clipped at full scale."""
    import numpy as np

    return np.rint(np.clip(audio.T, -1, 1) * 32767).astype("<i2").tobytes()
