"""Sound in and out: files, levels, filters, streams."""

from stage.audio.files import Resampler, check, fit, read, resample, to_mono, write

__all__ = ["Resampler", "check", "fit", "read", "resample", "to_mono", "write"]
