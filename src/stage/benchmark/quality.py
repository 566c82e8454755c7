"""What low precision costs the music of the sketch model: distributions, beats, chords."""

from __future__ import annotations

from typing import Any

import numpy as np

from stage.evaluation.figures.harmony import Chord, notes, share_in_chord

TEMPI = (84.0, 96.0, 108.0, 120.0, 132.0, 144.0, 156.0, 168.0)
CHORDS = ((0, 4, 7), (9, 12, 16), (5, 9, 12), (7, 11, 14))
"""C, Am, F, G: pitches above C, a bar each."""


def song(bpm: float, key: int, rate: int = 32000, seconds: float = 10.0) -> tuple[np.ndarray, list[Chord]]:
    """A made-up mix without bass: chords on every beat, a hi-hat. Returns float32 [N] and the chords."""
    time = np.arange(round(seconds * rate)) / rate
    beat, bar = 60 / bpm, 240 / bpm
    audio = 0.03 * np.random.default_rng(key).normal(0, 1, len(time)) * np.exp(-60 * (time % (beat / 2)))
    chords = []
    for number in range(int(np.ceil(seconds / bar))):
        pitches = [48 + key + pitch for pitch in CHORDS[number % len(CHORDS)]]
        inside = (time >= number * bar) & (time < (number + 1) * bar)
        envelope = np.exp(-2 * (time[inside] % beat) / beat)
        for pitch in pitches:
            hz = 440 * 2 ** ((pitch - 69) / 12)
            for partial in (1, 2, 3):
                audio[inside] += 0.06 / partial * envelope * np.sin(2 * np.pi * hz * partial * time[inside])
        chords.append(Chord(number * bar, min(seconds, (number + 1) * bar), frozenset(pitch % 12 for pitch in pitches)))
    return audio.astype(np.float32), chords


def quality(precision: str, threads: int, clips: int = 8, engine: str = "torch") -> dict[str, Any]:
    """The sketch model in a precision, by an engine, against itself in float32 by torch.

    kl: mean over columns and codebooks of KL(float32 || precision) of the next code, for stems that float32 made.
    beats: F of drums to metronomes at their beats; chords: share of bass notes in the sounding chord; each with its
    standard
    error over the clips (`*_noise`), for the precision itself.
    """
    import torch

    from stage import Stage
    from stage.beats.grid import BeatGrid, click_track
    from stage.beats.tracker import track
    from stage.evaluation.figures.beats import f_measure
    from stage.generation.decoding import generate
    from stage.models.fast_step import row_logits
    from stage.prefix import row, training_row

    torch.set_num_threads(threads)
    kinds = (("float32", "torch"), (precision, engine))
    exact, low = (Stage.from_pretrained("sketch", device="cpu", precision=p, engine=e) for p, e in kinds)
    divergence, beats, chords = [], [], []
    for number, bpm in enumerate(TEMPI[:clips]):
        mix, harmony = song(bpm, number)
        grid = BeatGrid.regular(bpm, 4, 10.0)
        clicks = click_track(grid, 10.0, 32000)
        for stem, sounds in ((0, {"grid": clicks}), (1, {"grid": clicks, "mix": mix})):
            contexts = [
                exact.codec.encode(torch.from_numpy(np.asarray(sounds[kind], np.float32))[None])[0]
                if kind in sounds
                else None
                for kind in exact.decoder.config.contexts
            ]
            codes = generate(
                exact.decoder, stem=stem, contexts=contexts, frames=250, seeds=(number,), sampling=exact.sampling()
            )[0]
            sequence = training_row(exact.decoder.config, [row(exact.decoder.config, contexts, stem, codes)])
            with torch.inference_mode():
                p, q = (
                    torch.log_softmax(row_logits(s.decoder, sequence).float()[:, :, sequence.first :], -1)
                    for s in (exact, low)
                )
            divergence.append(float((p.exp() * (p - q)).sum(-1).mean()))
            made = low.generate_audio(sounds, exact.stems[stem], seconds=10.0, seeds=(number,))[0]
            if stem == 0:
                beats.append(f_measure(grid.times, track(made[None], 32000).times))
            else:
                chords.append(share_in_chord(notes(made, 32000), harmony))
    found = {"kl": float(np.mean(divergence))}
    for name, values in (("beats", beats), ("chords", chords)):
        found |= {name: float(np.nanmean(values)), f"{name}_noise": float(np.nanstd(values) / np.sqrt(len(values)))}
    return found
