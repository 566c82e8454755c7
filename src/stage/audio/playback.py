"""What hears a stem while it is made: a pipe (`-o -`) or a player (`--play`)."""

from __future__ import annotations

import contextlib
import os
import queue
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

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


class Ear(Protocol):
    """Something that hears a stream. In a `with`, so that nothing is left running."""

    def hear(self, stream: Stream) -> Accompaniment:
        """Take the whole stream, each chunk as soon as it is there. Returns the finished result."""
        ...

    def wait(self) -> None:
        """Until all that was made has been heard."""
        ...

    def __enter__(self) -> Ear: ...

    def __exit__(self, *_: object) -> None: ...


def is_pipe(out: Path | None) -> bool:
    """Whether the results go to standard output."""
    return out is not None and str(out) == "-"


def choose(out: Path | None, play: bool, raw: bool, gain: float | None, variations: int) -> Ear | None:
    """Who hears the stem while it is made, None if nobody does. StageError for what does not go together."""
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
        return Player()
    if gain is not None:
        raise StageError(
            "--gain is for what is heard while it is made: add --play or -o -. The files have the song's level"
        )
    return None


class Pipe:
    """Writes the stem to standard output: WAV with 16 bits, or without header in float32; waits for the reader."""

    def __init__(self, raw: bool):
        self.raw = raw

    def __enter__(self) -> Pipe:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing runs beside the program."""

    def hear(self, stream: Stream) -> Accompaniment:
        """See `Ear`. Raises ReaderGone when nobody reads any more."""
        import numpy as np

        parts, limiter = [], Limiter(stream.rate)
        with stream:
            if self.raw:
                print(f"stage: float32, little endian, 1 channel, {stream.rate} Hz", file=sys.stderr)
            else:
                self._write(wav_header(stream.rate, 1, stream.samples))
            for chunk in stream:
                parts.append(chunk)
                self._write(chunk.astype("<f4").tobytes() if self.raw else pcm16(limiter.push(chunk)))
            if not self.raw:
                self._write(pcm16(limiter.push(np.zeros((1, 0), np.float32), last=True)))
        return stream.finish(parts)

    def _write(self, data: bytes) -> None:
        try:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            # what the interpreter still flushes at its end must go somewhere
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise ReaderGone from None

    def wait(self) -> None:
        """All is written."""


class Player:
    """Plays song and stem together by another program, from memory: making does not wait for it."""

    def __init__(self) -> None:
        self.command = find_player()
        self.process: subprocess.Popen | None = None
        self.said: IO[bytes] | None = None
        self.cut = False  # the player went before the sound was over
        self.waiting: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._feed, name="stage-player", daemon=True)

    def __enter__(self) -> Player:
        return self

    def __exit__(self, *_: object) -> None:
        """Whatever still plays is stopped."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.waiting.put(None)
            self.thread.join()
            self.said.close()

    def hear(self, stream: Stream) -> Accompaniment:
        """See `Ear`; the first variation is played."""
        song, parts, limiter, done = stream.song, [], Limiter(stream.rate), 0
        with stream:
            self._start(stream.rate, len(song), stream.samples)
            for chunk in stream:
                parts.append(chunk)
                mixed = song[:, done : done + chunk.shape[1]].copy()
                mixed[:2] += chunk[0]
                done += chunk.shape[1]
                self.waiting.put(pcm16(limiter.push(mixed, last=done == stream.samples)))
        self.waiting.put(None)
        return stream.finish(parts)

    def _start(self, rate: int, channels: int, samples: int) -> None:
        command = [part.replace("{rate}", str(rate)).replace("{channels}", str(channels)) for part in self.command]
        self.said = tempfile.TemporaryFile()
        try:
            # a session of its own: Ctrl-C is ours to hear, and `__exit__` stops it
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self.said, start_new_session=True
            )
        except OSError as error:
            self.said.close()
            raise StageError(
                f"cannot start the player {command[0]}: {error.strerror}. Name another in $STAGE_PLAYER"
            ) from None
        if "--raw" not in command:
            self.waiting.put(wav_header(rate, channels, samples))
        self.thread.start()

    def _feed(self) -> None:
        """Hand on what is made, at the player's pace; ends with the sound or with the player."""
        try:
            with self.process.stdin as pipe:
                while (data := self.waiting.get()) is not None:
                    pipe.write(data)
                    pipe.flush()
        except OSError:
            self.cut = True

    def wait(self) -> None:
        """Until the player has ended; Ctrl-C ends it. Tells what it complained of, and if it ended before the sound."""
        try:
            self.thread.join()
            code = self.process.wait()
        except KeyboardInterrupt:
            return
        self.said.seek(0)
        why = self.said.read().decode(errors="replace").strip().splitlines()
        if code != 0 or self.cut or why:
            # some players end with 0 even where there is nothing to play on
            reason = f": {why[-1]}" if why else ""
            print(
                f"note: the player {self.command[0]} did not play all{reason}. $STAGE_PLAYER names another",
                file=sys.stderr,
            )


def find_player() -> list[str]:
    """The program of $STAGE_PLAYER, or the first of PLAYERS that is installed; StageError if there is none."""
    named = os.environ.get("STAGE_PLAYER", "").strip()
    if named:
        try:
            command = shlex.split(named)
        except ValueError as error:
            raise StageError(f"$STAGE_PLAYER is no command line ({error}): {named}") from None
        if not shutil.which(command[0]):
            raise StageError(
                f"$STAGE_PLAYER names {command[0]}, which is not there: name a program that plays WAV from its input"
            )
        return command
    for line in PLAYERS:
        if shutil.which(line.split()[0]):
            return line.split()
    names = ", ".join(line.split()[0] for line in PLAYERS)
    raise StageError(
        f"no player is installed ({names}): install FFmpeg, or name a program in $STAGE_PLAYER that plays WAV from its"
        " input"
    )


def wav_header(rate: int, channels: int, samples: int) -> bytes:
    """The first 44 bytes of a WAV with 16 bits and `samples` for each channel: the length is known before the sound is
    made."""
    size = 2 * channels * samples
    form = struct.pack("<HHIIHH", 1, channels, rate, 2 * channels * rate, 2 * channels, 16)
    return struct.pack("<4sI4s4sI16s4sI", b"RIFF", HEADER_BYTES - 8 + size, b"WAVE", b"fmt ", 16, form, b"data", size)


def pcm16(audio: np.ndarray) -> bytes:
    """Audio [C, n] as 16-bit samples, little endian, channels interleaved; clipped at full scale."""
    import numpy as np

    return np.rint(np.clip(audio.T, -1, 1) * 32767).astype("<i2").tobytes()


class Limiter:
    """`stage.audio.level.limit` of a sound that comes in parts; 20 ms late, as it looks that far ahead."""

    def __init__(self, rate: int):
        import torch

        from stage.audio.level import limit
        from stage.models.codec import Sliding

        reach = 2 * round(0.01 * rate)
        self._tensor = torch.from_numpy
        self._sliding = Sliding(
            lambda window, start: torch.from_numpy(limit(window[0].numpy(), rate))[None], reach, reach
        )

    def push(self, audio: np.ndarray, last: bool = False) -> np.ndarray:
        """The next part [C, n] -> what is certain now [C, m]. last: none will follow."""
        out = self._sliding.push(self._tensor(audio)[None] if audio.shape[1] else None, last)
        return audio[:, :0] if out is None else out[0].numpy()
