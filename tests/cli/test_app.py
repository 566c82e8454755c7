import os
import subprocess
import sys

import pytest


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no device that is full")
@pytest.mark.parametrize("arguments", [["--help"], ["models", "--json"]], ids=" ".join)
def test_an_output_without_room_is_one_line(arguments):
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "stage", *arguments], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert (ended.returncode, ended.stderr) == (2, "stage: cannot write the output: No space left on device\n")


ENDING = """
import atexit, os, signal, sys
from stage.cli import main

class Late:
    def __init__(self):
        self.send, self.write = send, os.write

    def __del__(self):  # Python has given up its handlers by now
        self.send()
        self.write(1, b"ended")

def send(kill=os.kill, process=os.getpid(), signals=(signal.SIGTERM, signal.SIGINT)):
    for number in signals:
        kill(process, number)

late = Late()
atexit.register(send)
sys.argv = ["stage", *sys.argv[1:]]
main()
"""


@pytest.mark.skipif(os.name == "nt", reason="os.kill ends a process there")
@pytest.mark.parametrize("arguments, code", [(["--version"], 0), (["click", "--bpm", "0", "--stem", "drums"], 2)])
def test_a_signal_to_a_command_that_is_done_does_not_change_its_exit_code(arguments, code):
    ended = subprocess.run([sys.executable, "-c", ENDING, *arguments], capture_output=True, text=True)
    assert ended.returncode == code and ended.stdout.endswith("ended")
    assert ended.stderr.count("\n") == (code > 0)


@pytest.mark.skipif(os.name == "nt", reason="os.kill ends a process there")
def test_a_second_signal_while_the_first_is_answered_is_no_traceback():
    twice = (
        "import os, signal, sys; from stage.cli import app\n"
        "stop = lambda *_: os.kill(os.getpid(), signal.SIGTERM)\n"
        "app.typer.main.get_command = lambda _: type('Command', (), {'main': stop})()\n"
        "app._complain = stop\n"
        "app.main()"
    )
    ended = subprocess.run([sys.executable, "-c", twice], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (130, "")
