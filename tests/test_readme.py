"""What the README tells people to type is understood; what is cheap is done."""

import re
import shlex
import sys
from pathlib import Path

import pytest
import typer

from helpers.fakes import drawn_stage, song
from stage import audio
from stage.checkpoints import adapters
from stage.cli import app as cli
from stage.cli import play
from stage.models.lora import new_adapter

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def commands(text: str) -> list[str]:
    """Every `stage ...` in backticks and every line of a shell block, without comments and what it is piped into."""
    inline = re.findall(r"`(stage [^`]+)`", text)
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.S)).splitlines()
    return list(dict.fromkeys(line.split(" #")[0].split(" | ")[0].strip() for line in inline + blocks if line.strip()))


STAGE = [
    command
    for command in commands(TEXT + cli.EXAMPLES + (play.accompany.__doc__ or "") + (play.click.__doc__ or ""))
    if re.match("stage [a-z]+ .", command)
]


def understand(args: list[str]) -> None:
    """Parse a command line as the program would, down to the last subcommand, without running it."""
    command = typer.main.get_command(cli.app)
    context = command.make_context("stage", list(args))
    while hasattr(command, "commands"):
        rest = [*context._protected_args, *context.args] if hasattr(context, "_protected_args") else context.args
        if not rest:
            return
        name, command, rest = command.resolve_command(context, rest)
        if "--help" in rest:
            return
        context = command.make_context(name, rest, parent=context)


def test_there_are_commands_to_test():
    assert len(STAGE) >= 10 and {"accompany", "click", "acceptance", "corpus", "train"} <= {
        command.split()[1] for command in STAGE
    }


@pytest.mark.parametrize("line", STAGE)
def test_the_command_is_understood(line):
    understand(shlex.split(line)[1:])


def test_what_is_not_understood_would_fail():
    with pytest.raises(Exception, match="No such option"):
        understand(shlex.split("accompany song.mp3 --stem drums --loud"))
    with pytest.raises(Exception, match="No such option"):
        understand(shlex.split("evaluate embedded --loud"))


@pytest.mark.parametrize("line", [line for line in STAGE if line.split()[1] in ("accompany", "click")])
def test_the_command_runs(line, tmp_path, monkeypatch, small_model, capfdbinary):
    """With a small model and a short song of that name; a longer stretch is cut to the song."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STAGE_PLAYER", shlex.join([sys.executable, "-c", "import sys; sys.stdin.buffer.read()"]))
    monkeypatch.setenv("STAGE_HOME", str(Path(small_model).parent / "home"))
    args = shlex.split(line)[1:]
    for name in [arg for arg in args if re.fullmatch(r"song\.\w+", arg)]:
        audio.write("song.wav", song(52.0 if "--start" in args else 2.0, 8000, 1), 8000, force=True)
        args[args.index(name)] = "song.wav"
    if "--grid" in args and "beats.txt" in args:
        Path("beats.txt").write_text("0.0 1\n0.5 2\n1.0 3\n1.5 4\n")
    if "--variations" in args:
        args[args.index("--variations") + 1] = "1"
    assert cli.run([*args, "--model", small_model]) == 0
    assert capfdbinary.readouterr().out[:4] == b"RIFF" if "-" in args else list(tmp_path.rglob("*.mix.wav"))


@pytest.fixture(scope="module")
def small_model(tmp_path_factory):
    path = tmp_path_factory.mktemp("readme") / "drawn"
    stage = drawn_stage(window_seconds=10.0)
    stage.save_pretrained(path)
    adapters.save(path.parent / "home/adapters/my-guitar", new_adapter(stage.decoder, "guitar", base=stage.config.name))
    return str(path)


def test_every_file_that_is_linked_exists():
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", TEXT):
        assert (ROOT / target).exists(), target
