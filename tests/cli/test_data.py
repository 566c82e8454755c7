"""`stage data`: what it prints, and a reader that goes away."""

import subprocess
import sys

from helpers.data_sets import write


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    write(tmp_path / "song" / "drums.wav", 1)
    for number in range(900):
        (tmp_path / "song" / f"odd name {number:03d} {'x' * 100}.wav").write_bytes(b"")
    command = [sys.executable, "-m", "stage", "data", str(tmp_path), "--examples", "900"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
    assert process.stdout.read(10) == b"a folder o"
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait(60) == 141
