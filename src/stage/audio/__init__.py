"""Sound in and out: files, levels, filters, streams."""

from stage.audio.files import Resampler, fit, read, resample, to_mono, write

__all__ = ["Resampler", "fit", "read", "resample", "to_mono", "write"]
