import io

import numpy as np
import pytest

from stage.audio import read, write
from stage.audio.callbacks import Guarded
from stage.audio.headers import Part
from stage.errors import StageError


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_a_disk_without_room_is_one_line_and_leaves_nothing(name, tmp_path, capfd):
    resource = pytest.importorskip("resource")
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 100_000)).astype(np.float32)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(StageError, match="cannot write .*File too large"):
            write(tmp_path / name, noise, 8000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == [] and capfd.readouterr() == ("", "")


def test_ctrl_c_is_not_lost_while_a_file_is_read(tmp_path, monkeypatch, capfd):
    write(tmp_path / "a.wav", np.zeros((1, 3000), np.float32), 8000)
    whole, reads = Part.readinto, []

    def stopped(self, buffer):
        reads.append(self.place)
        if self.place > 2000:
            raise KeyboardInterrupt
        return whole(self, buffer)

    monkeypatch.setattr(Part, "readinto", stopped)
    with pytest.raises(KeyboardInterrupt):
        read(tmp_path / "a.wav")
    assert max(reads) > 2000 and capfd.readouterr() == ("", "")


def test_the_first_error_is_kept_and_an_error_is_not_ctrl_c():
    class Broken(io.BytesIO):
        def write(self, data):
            raise OSError(28, f"of {len(data)} bytes")

    guarded = Guarded(Broken())
    guarded.check()
    assert [guarded.write(b"abc"), guarded.write(b"longer"), guarded.seek(0), guarded.read(5)] == [3, 6, 0, b""]
    guarded.check(errors=False)
    with pytest.raises(OSError, match="of 3 bytes"):
        guarded.check()
