"""MIDI notes to audio with fluidsynth, in-process, every soundfont loaded once."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from stage.errors import MissingExtra, StageError

RATE = 32000
VOICES = 96
BLOCK = 64  # fluidsynth starts notes at multiples of its internal buffer of 64 samples
# file name -> (short name, family); fonts of one family share samples and are held out together
SOUNDFONTS = {
    "FluidR3_GM.sf2": ("fluidr3", "fluid"),
    "FluidR3Mono_GM.sf3": ("fluidr3mono", "fluid"),
    "MuseScore_General_Lite.sf3": ("musescore", "musescore"),
    "MuseScore_General.sf3": ("musescore", "musescore"),
}
FOLDERS = (
    "/usr/share/sounds/sf2",
    "/usr/share/sounds/sf3",
    "/usr/share/soundfonts",
    "/usr/local/share/soundfonts",
    "/opt/homebrew/share/soundfonts",
    "/opt/homebrew/share/sounds/sf2",
)
INSTALL = (
    "on Debian or Ubuntu: apt-get install libfluidsynth3 fluid-soundfont-gm musescore-general-soundfont-small"
    " fluidr3mono-gm-soundfont; on macOS: brew install fluid-synth, and put FluidR3_GM.sf2 into"
    " /usr/local/share/soundfonts"
)


def _library():
    try:
        import fluidsynth
    except ModuleNotFoundError as error:
        raise MissingExtra("Rendering the corpus", "corpus") from error
    except ImportError as error:  # the Python package is there, the shared library is not
        raise StageError(f"The fluidsynth library is missing; {INSTALL}") from error
    return fluidsynth


def find_soundfonts() -> dict[str, Path]:
    """Short name -> path of every known soundfont on this machine. Raises StageError if there is none."""
    found: dict[str, Path] = {}
    for file, (name, _) in SOUNDFONTS.items():
        for folder in FOLDERS:
            path = Path(folder) / file
            if name not in found and path.is_file():
                found[name] = path
    if not found:
        raise StageError(f"No soundfont was found; {INSTALL}")
    return found


def check() -> list[str]:
    """Names of the soundfonts that can be used. Raises StageError naming what is missing."""
    _library()
    return sorted(find_soundfonts())


@dataclass(frozen=True)
class Event:
    """A note in seconds."""

    start: float
    end: float
    pitch: int
    velocity: int


NEAREST_KEYS = {22: 42, 26: 46, 31: 38, 58: 43}
"""Keys of electronic kits for which a General MIDI kit has another sound, and its nearest: edges of the closed and the
open hat, a second snare, the floor tom's rim."""


class Renderer:
    """One fluidsynth synthesiser with all soundfonts; `render` gives one dry stem.

    The output depends only on the arguments: the synthesiser is reset before each stem and always
    rendered in whole blocks.
    """

    def __init__(self, rate: int = RATE):
        self._fluid = _library()
        self.rate = rate
        dry = {"synth.reverb.active": 0, "synth.chorus.active": 0, "synth.polyphony": VOICES}
        self._synth = self._fluid.Synth(gain=0.5, samplerate=rate, channels=16, **dry)
        self.fonts = {name: self._synth.sfload(str(path)) for name, path in find_soundfonts().items()}
        self._write = self._fluid._fl.fluid_synth_write_float
        self._write.restype = ctypes.c_int
        self._write.argtypes = [ctypes.c_void_p, ctypes.c_int] + [ctypes.c_void_p, ctypes.c_int, ctypes.c_int] * 2

    def has(self, font: str, bank: int, program: int) -> bool:
        """Whether the soundfont holds this preset."""
        return font in self.fonts and self._synth.sfpreset_name(self.fonts[font], bank, program) is not None

    def render(self, events: Sequence[Event], seconds: float, font: str, bank: int, program: int) -> np.ndarray:
        """Events to mono audio: float32 `[N]`, N = round(seconds * rate)."""
        synth = self._synth
        self._silence()
        channel = 9 if bank == 128 else 0
        if synth.program_select(channel, self.fonts[font], bank, program) != 0:
            raise StageError(f"Soundfont {font} has no preset {bank}:{program}")
        total = int(round(seconds * self.rate))
        blocks = -(-total // BLOCK)
        left, right = np.zeros((2, blocks * BLOCK), dtype=np.float32)
        turns = []  # (block, 1 = on / 0 = off, pitch, velocity): offs come first within a block
        if bank == 128:
            events = [replace(e, pitch=NEAREST_KEYS.get(e.pitch, e.pitch)) for e in events]
        for e in events:
            on = int(round(e.start * self.rate / BLOCK))
            off = max(int(round(e.end * self.rate / BLOCK)), on + 1)
            if 0 <= on < blocks:
                turns += [(on, 1, e.pitch, e.velocity), (off, 0, e.pitch, 0)]
        at = 0
        for block, kind, pitch, velocity in sorted(turns):
            if block >= blocks:
                break
            if block > at:
                self._advance(left, right, at, block)
                at = block
            if kind:
                synth.noteon(channel, pitch, velocity)
            else:
                synth.noteoff(channel, pitch)
        self._advance(left, right, at, blocks)
        return (0.5 * (left + right))[:total]

    def _stop(self) -> None:
        """Ends every voice: a reset alone lets them ring on (fluidsynth 2.3.1)."""
        scratch = np.zeros((2, 16 * BLOCK), dtype=np.float32)
        self._synth.all_sounds_off(-1)
        self._advance(scratch[0], scratch[1], 0, 16)
        self._synth.system_reset()

    def _silence(self) -> None:
        """Clears the last stem. Voices keep traces of what they played (up to 0.01 of full scale in
        their next note), so before every stem all of them play the same notes."""
        synth = self._synth
        self._stop()
        synth.program_select(0, self.fonts[min(self.fonts)], 0, 0)
        for pitch in range(16, 16 + VOICES):
            if synth.get_active_voice_count() > VOICES - 2:  # a note takes one or two voices
                break
            synth.noteon(0, pitch, 100)
        scratch = np.zeros((2, 4 * BLOCK), dtype=np.float32)
        self._advance(scratch[0], scratch[1], 0, 4)
        self._stop()

    def _advance(self, left: np.ndarray, right: np.ndarray, start: int, stop: int) -> None:
        if stop > start:
            a, n = start * BLOCK, (stop - start) * BLOCK
            self._write(self._synth.synth, n, left[a:].ctypes.data, 0, 1, right[a:].ctypes.data, 0, 1)

    def close(self) -> None:
        self._synth.delete()
