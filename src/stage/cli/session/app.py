"""`stage session`: the group of its commands."""

from __future__ import annotations

import typer

from stage.cli.lazy import PLAIN, Entry, lazy_group

HELP = """
Build an arrangement take by take; every step can be undone.

\b
  stage session new song.mp3                      begin, in the folder song-session
  stage session add drums --takes 3               a track: three takes, the first is kept
  stage session takes drums                       what there is, with a quick check of each
  stage session keep drums 2                      keep another
  stage session add bass                          played to the song and the drums
  stage session redo drums --bars 5-6             play bars again, all else stays
  stage session undo
  stage session export                            stems, MIDI, DAWproject, REAPER

Commands work in the session of this folder, in the only one that lies in it, or in the one that
-s names. Two words that are close: `redo` plays bars again, `redo-step` does an undone step again.
"""

COMMANDS = {
    "new": Entry("stage.cli.session.begin:new", "Begin, for a song or for a tempo.", "Begin"),
    "show": Entry("stage.cli.session.begin:show", "Show song, tracks and steps.", "Begin"),
    "mend": Entry("stage.cli.session.begin:mend", "Mend beats, chords or form.", "Begin"),
    "song": Entry("stage.cli.session.begin:song", "Say where the song lies now.", "Begin"),
    "add": Entry("stage.cli.session.takes:add", "Add a track.", "Play"),
    "band": Entry("stage.cli.session.takes:band", "Add several tracks, one after the other.", "Play"),
    "takes": Entry("stage.cli.session.takes:takes", "List takes; make more of them.", "Play"),
    "redo": Entry("stage.cli.session.takes:redo", "Play some bars again.", "Play"),
    "keep": Entry("stage.cli.session.takes:keep", "Keep another take.", "Arrange"),
    "sound": Entry("stage.cli.session.takes:sound", "Play a track on another kit or instrument.", "Arrange"),
    "track": Entry("stage.cli.session.arrange:track", "Set gain, pan, mute, lock, name; remove.", "Arrange"),
    "undo": Entry("stage.cli.session.arrange:undo", "Undo the last step.", "Arrange"),
    "redo-step": Entry("stage.cli.session.arrange:redo_step", "Do an undone step again.", "Arrange"),
    "export": Entry("stage.cli.session.arrange:export", "Write stems, MIDI and DAW projects.", "Leave"),
    "verify": Entry("stage.cli.session.arrange:verify", "Make all again; say what differs.", "Leave"),
}

app = typer.Typer(cls=lazy_group(COMMANDS), no_args_is_help=True, **PLAIN)


@app.callback(help=HELP)
def common() -> None: ...
