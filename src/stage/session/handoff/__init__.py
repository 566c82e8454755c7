"""Leaving with files that other programs open: stems, MIDI, DAWproject, REAPER. All share one `Arrangement`."""
