"""Sound in and out: files, levels, filters, streams."""

from stage.audio.files import check, fit, read, resample, to_mono, write
from stage.audio.streams import Resampler

__all__ = ["Resampler", "check", "fit", "read", "resample", "to_mono", "write"]
