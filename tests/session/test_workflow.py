"""The commands of docs/workflow.md, from top to bottom, in one folder."""

import json
import re
import shutil

import pytest

from helpers.documents import ROOT, shown
from helpers.fakes import song
from stage import audio
from stage.cli import app as cli
from stage.pipeline import Stage
from stage.session import Session

PAGE = ROOT / "docs" / "workflow.md"


@pytest.fixture
def folder(player, tmp_path, monkeypatch):
    """A folder with a song, in which every model is the small player."""
    monkeypatch.setattr(Stage, "from_pretrained", lambda *_, **__: player)
    monkeypatch.setattr("stage.generation.outputs.picture.draw", lambda *_: None)
    audio.write(tmp_path / "song.wav", song(5.0, 8000, 1, bpm=110), 8000)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_page_from_top_to_bottom(folder, capsys):
    text = PAGE.read_text(encoding="utf-8")
    blocks = "".join("\n" + block for block in re.findall(r"```sh\n(.*?)```", text, re.S))
    lines = [command for command in shown(text, PAGE.name) if f"\n{command.line}\n" in blocks and not command.why]
    assert len(lines) > 15 and {"session", "band", "export"} <= {line.args[1] for line in lines}
    for command in lines:
        code = cli.run(command.args[1:])
        printed = capsys.readouterr()
        assert code == 0, f"{command.line}: {printed.err}"
    session = Session.open("song-session")
    assert [track.name for track in session.tracks] == ["drums", "bass", "keys"]
    assert len(session.takes("drums")) == 9 and session.track("keys").gain == -3
    assert {"song.dawproject", "song.rpp", "mix.wav", "arrangement.mid"} <= {
        path.name for path in (folder / "song-session" / "export").iterdir()
    }
    assert (folder / "song-band" / "export" / "song.dawproject").is_file()
    assert (folder / "duo" / "export" / "duo.rpp").is_file()
    assert (folder / "song-export" / "song.rpp").is_file()
    whole, rate = audio.read(folder / "counted-click" / "click-96-4-4.drums.0.wav")
    assert whole.shape[1] == round(3 * 2.5 * rate) and not whole[:, : round(2.5 * rate)].any()
    assert (folder / "counted" / "count-in.wav").is_file()


@pytest.fixture
def trio(made, folder):
    """The session that the tests share, at hand as `trio`."""
    shutil.copytree(made, folder / "trio")
    return folder / "trio"


def run(*args: str) -> int:
    return cli.run(["session", *args])


def test_commands_find_the_session(trio, capsys, monkeypatch):
    assert run("show") == 0 and "drums: take 1 of 2" in capsys.readouterr().out
    assert run("keep", "drums", "2", "-s", "trio") == 0 and "drums 2 (kept)" in capsys.readouterr().out
    monkeypatch.chdir(trio)
    assert run("undo") == 0 and "undone: keep take 2 of drums" in capsys.readouterr().out
    assert run("redo-step") == 0 and "done again: keep take 2 of drums" in capsys.readouterr().out
    assert (
        run("track", "bass", "--mute", "--lock") == 0 and "bass: take 1 of 1, muted, locked" in capsys.readouterr().out
    )
    assert run("track", "bass", "--unlock") == 0 and run("track", "bass", "--remove") == 0
    assert [track.name for track in Session.open(".").tracks] == ["drums"]
    monkeypatch.chdir(trio.parent)
    Session.new("other", bpm=100, bars=2)
    capsys.readouterr()
    assert run("show") == 2 and "several sessions here (other, trio)" in capsys.readouterr().err


@pytest.mark.parametrize(
    "args, match",
    [
        (["show", "-s", "nothing"], "is not a session"),
        (["new", "missing.wav"], "missing.wav does not exist"),
        (["new", "song.wav", "--bpm", "90"], "a song or a tempo, not both"),
        (["new", "--bars", "4"], "name a song, or a tempo"),
        (["new", "--bpm", "9", "-o", "x"], "tempo of 9 BPM is not playable"),
        (["new", "--bpm", "90", "--grid", "half"], "without a song --grid takes a file"),
        (["new", "song.wav", "--form", "verse"], "write a name and bars"),
        (["new", "song.wav", "-o", "trio"], "trio exists"),
        (["new", "song.wav", "--start", "4", "--seconds", "9"], "recording ends at"),
        (["add", "horns"], "horns"),
        (["add", "drums", "--register", "low"], "register is of no use to drums"),
        (["add", "drums", "--takes", "0"], "0 variations"),
        (["keep", "drums", "7"], "no take 7"),
        (["takes", "lead"], 'no track "lead"'),
        (["redo", "drums"], "which bars"),
        (["redo", "drums", "--bars", "x"], '"x" is no region'),
        (["redo", "drums", "--bars", "8-9"], "bar 8 is not there"),
        (["redo", "drums", "--between", "50-60"], "not within the music"),
        (["mend"], "nothing is to be mended"),
        (["mend", "--grid", "no.txt"], 'there is no file "no.txt"'),
        (["mend", "--grid", "half", "--taps", "a.txt"], "tapped or given"),
        (["band", "--stems", ","], "a band needs stems"),
        (["export", "--as", "aiff"], '"aiff" cannot be exported'),
        (["export", "--count-in", "40"], "a count-in of 40 bars cannot be made"),
        (["new", "--bpm", "90", "--form", "song"], "without a song no form can be found"),
        (["track", "drums"], "nothing is to be changed"),
    ],
)
def test_mistakes_are_one_line_and_change_nothing(trio, capsys, args, match):
    before = (trio / "session.json").read_bytes()
    there = sorted(path.name for path in trio.parent.iterdir())
    assert run(*args) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("stage: ") and printed.err.count("\n") == 1 and match in printed.err, printed.err
    assert (trio / "session.json").read_bytes() == before
    assert sorted(path.name for path in trio.parent.iterdir()) == there


def test_what_differs_is_said(trio, capsys):
    take = next(iter(json.loads((trio / "session.json").read_text())["takes"]))
    (trio / "takes" / f"{take}.flac").write_bytes(b"")
    assert run("verify", "--quick") == 1
    assert capsys.readouterr().out == f"take {take}: {take}.flac was changed\n"
