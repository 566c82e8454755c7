"""Sound in and out: files, levels, filters, streams."""

from stage.audio.files import Resampler, check_folder, check_free, fit, read, resample, to_mono, whole_file, write

__all__ = ["Resampler", "check_folder", "check_free", "fit", "read", "resample", "to_mono", "whole_file", "write"]
