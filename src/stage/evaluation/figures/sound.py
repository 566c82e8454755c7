"""Sound: mel spectra in numpy, the log-mel distance of a codec's output, and Opus as the yardstick."""

from __future__ import annotations

import io
from fractions import Fraction
from functools import lru_cache

import numpy as np

from stage.audio import filters
from stage.audio.files import fit, resample

FLOOR = 1e-3
"""Magnitudes below this (-60 dB of a full-scale sine) count as this. Lower floors flatter whatever fills the top
bands: Opus leaves them empty at low rates."""


def log_mel_distance(original: np.ndarray, copy: np.ndarray, rate: int) -> float:
    """Mean absolute difference of log10 magnitudes in 80 mel bands (windows of 1024, hop 320 at 32 kHz).

    original, copy: float [N], in step. 0 is identical; 0.1 is a tenth of a decade, 2 dB.
    """
    copy = fit(copy, len(original))
    logs = [np.log10(np.maximum(mel_spectrum(audio, rate), FLOOR)) for audio in (original, copy)]
    return float(np.abs(logs[0] - logs[1]).mean())


def opus(audio: np.ndarray, rate: int, bits: int = 6000) -> np.ndarray:
    """Audio after Opus at `bits` a second, constrained to mono music: float32 [N], in step with the input.

    audio: float [N]. Encoded in memory by FFmpeg's libopus through PyAV at 48 kHz; what delay is left after the
    decoder's own correction is measured by correlation and taken out.
    """
    import av

    length = len(audio)
    signal = resample(np.asarray(audio, np.float32), rate, 48000)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=48000, options={"vbr": "constrained", "application": "audio"})
        stream.bit_rate = bits
        stream.layout = "mono"
        for start in range(0, len(signal), 960):
            frame = av.AudioFrame.from_ndarray(fit(signal[start : start + 960], 960)[None], format="flt", layout="mono")
            frame.sample_rate = 48000
            frame.time_base = Fraction(1, 48000)
            frame.pts = start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    buffer.seek(0)
    with av.open(buffer) as container:
        decoded = np.concatenate([frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)])
    decoded = resample(decoded.astype(np.float32), 48000, rate)
    return fit(align(decoded, audio, reach=rate // 10), length)


def align(late: np.ndarray, reference: np.ndarray, reach: int) -> np.ndarray:
    """`late` shifted by the lag, at most `reach` samples either way, at which it correlates best with `reference`."""
    size = 1 << (len(late) + len(reference)).bit_length()
    product = np.fft.rfft(late, size) * np.conj(np.fft.rfft(reference, size))
    correlation = np.fft.irfft(product, size)
    lags = np.arange(-reach, reach + 1)
    lag = int(lags[correlation[lags].argmax()])
    return late[lag:] if lag >= 0 else np.concatenate([np.zeros(-lag, late.dtype), late])


def mel_spectrum(audio: np.ndarray, rate: int, bands: int = 80, window: int = 1024, hop: int = 320) -> np.ndarray:
    """Magnitudes in mel bands: float32 [1 + N // hop, bands].

    audio: float [N]. Hann windows centred on every `hop` samples; the window's gain is taken out, so a full-scale
    sine reads about 1 in its band.
    """
    padded = np.pad(np.asarray(audio, np.float32), (window // 2, window))
    cut = filters.frames(padded, window, hop, 1 + len(audio) // hop)
    shape = np.hanning(window + 1)[:-1].astype(np.float32)
    magnitude = np.abs(np.fft.rfft(cut * shape)).astype(np.float32) / (shape.sum() / 2)
    return magnitude @ mel_bank(rate, bands, window)


@lru_cache(maxsize=8)
def mel_bank(rate: int, bands: int, window: int) -> np.ndarray:
    """float32 [window // 2 + 1, bands]: triangles of height 1, evenly spaced in mel from 0 to half the rate.

    A band narrower than a bin takes the nearest bin.
    """
    edges, bins = filters.mel_edges(bands, 0.0, rate / 2), filters.bin_hz(window, rate)
    bank = filters.triangles(edges, bins)
    return filters.fill_empty(bank, bins, edges[1:-1], 0.5).astype(np.float32)


@lru_cache(maxsize=8)
def slaney_bank(rate: int, bands: int, window: int) -> np.ndarray:
    """float32 [window // 2 + 1, bands]: triangles of equal area on Slaney's mel scale from 0 to half the rate,
    librosa's default.
    """
    edges = filters.slaney_edges(bands, rate / 2)
    bank = filters.triangles(edges, filters.bin_hz(window, rate))
    return (bank * 2 / (edges[2:] - edges[:-2])).astype(np.float32)


def sounding(audio: np.ndarray, rate: int, floor_db: float = -40.0) -> float:
    """Share of frames of 10 ms whose level is within 40 dB of the loudest frame's: 0..1; 0 of silence.

    audio: float [N]. The level is the root mean square of 46 ms around each frame.
    """
    window, hop = round(0.046 * rate), round(0.01 * rate)
    power = np.concatenate([[0.0], np.cumsum(np.square(np.asarray(audio, np.float64)))])
    middle = np.arange(hop // 2, len(audio), hop)
    ends = np.clip(np.stack([middle - window // 2, middle + window // 2]), 0, len(audio))
    means = (power[ends[1]] - power[ends[0]]) / np.maximum(ends[1] - ends[0], 1)
    loudest = float(means.max(initial=0))
    return float((means > loudest * 10 ** (floor_db / 10)).mean()) if loudest > 1e-10 else 0.0
