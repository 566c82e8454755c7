import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from stage import files
from stage.errors import StageError


@pytest.fixture(params=["nameless", "named"])
def way(request, monkeypatch):
    """Both ways of writing, whatever this system can."""
    if request.param == "named":
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    elif not hasattr(os, "O_TMPFILE"):
        pytest.skip("no nameless files on this system")
    return request.param


def hidden(folder: Path) -> list[str]:
    return [p.name for p in folder.iterdir() if p.name.startswith(".")]


def test_a_file_is_there_whole_or_not_at_all(way, tmp_path):
    path = tmp_path / "deep" / "a.txt"
    with pytest.raises(RuntimeError), files.whole_file(path) as partial:
        partial.write_text("half")
        assert not path.exists()
        raise RuntimeError
    assert list(path.parent.iterdir()) == []
    files.write_text(path, "whole")
    assert path.read_text() == "whole" and hidden(path.parent) == []


def test_an_existing_file_is_replaced_with_force_alone(way, tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, {"ä": 1})
    with pytest.raises(StageError, match="exists: choose another name$"), files.whole_file(path):
        pass
    files.write_json(path, {"ä": 2}, force=True)
    assert json.loads(path.read_text(encoding="utf-8")) == {"ä": 2} and hidden(tmp_path) == []


def test_one_that_comes_in_between_is_kept(way, tmp_path):
    path = tmp_path / "a.txt"
    with pytest.raises(StageError, match="exists"), files.whole_file(path) as partial:
        partial.write_text("late")
        path.write_text("first")
    assert path.read_text() == "first" and hidden(tmp_path) == []


def test_a_link_to_nothing_is_in_the_way_before_any_work(way, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    for check in (files.check_folder, files.check_free):
        with pytest.raises(StageError, match="link"):
            check(link)
    with pytest.raises(StageError, match="not a folder"):
        files.check_folder(link / "deeper")
    with pytest.raises(StageError, match="exists"), files.whole_folder(link):
        pytest.fail("the work began")
    files.write_text(link, "x", force=True)
    assert link.read_text() == "x" and not link.is_symlink() and hidden(tmp_path) == []


def test_permissions_are_what_the_umask_leaves(way, tmp_path):
    before = os.umask(0o027)
    try:
        files.write_text(tmp_path / "a", "x")
        with files.whole_folder(tmp_path / "folder") as folder:
            (folder / "b").write_text("x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o750


def test_a_folder_is_there_whole_or_not_at_all(tmp_path):
    with pytest.raises(RuntimeError), files.whole_folder(tmp_path / "f") as partial:
        (partial / "a").write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with files.whole_folder(tmp_path / "f") as partial:
        (partial / "a").write_text("1")
    with pytest.raises(StageError, match="exists"), files.whole_folder(tmp_path / "f"):
        pass
    with files.whole_folder(tmp_path / "f", force=True) as partial:
        (partial / "b").write_text("2")
    assert [p.name for p in (tmp_path / "f").iterdir()] == ["b"] and hidden(tmp_path) == []


KILLED = """
import os, signal, sys
from stage import files
if "named" in sys.argv: del os.O_TMPFILE
if "folder" in sys.argv:
    with files.whole_folder(sys.argv[1] + "/f") as partial:
        (partial / "a").write_text("half"); os.kill(os.getpid(), signal.SIGKILL)
with files.whole_file(sys.argv[1] + "/a") as partial:
    partial.write_text("half"); os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("how", ["nameless", "named", "folder"])
def test_what_a_killed_process_left_is_swept_by_the_next(how, tmp_path):
    if how != "folder" and not hasattr(os, "O_TMPFILE"):
        pytest.skip("no nameless files on this system")
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), how])
    assert done.returncode == -signal.SIGKILL
    assert len(hidden(tmp_path)) == (0 if how == "nameless" else 1)
    mine = tmp_path / files._hidden()  # of a process that runs
    mine.write_text("")
    files.write_text(tmp_path / "b", "x")
    assert hidden(tmp_path) == [mine.name]


def test_a_folder_has_one_worker_at_a_time(tmp_path):
    code = "import sys; from stage import files\nwith files.lock(sys.argv[1]): print('in')"
    command = [sys.executable, "-c", code, str(tmp_path)]
    with files.lock(tmp_path):
        other = subprocess.run(command, capture_output=True, text=True)
        assert "in use by another run" in other.stderr and "in\n" not in other.stdout
    assert subprocess.run(command, capture_output=True, text=True).stdout == "in\n"


def test_a_folder_is_taken_away(tmp_path):
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "a").write_text("")
    files.remove_folder(tmp_path / "f")
    assert list(tmp_path.iterdir()) == []
