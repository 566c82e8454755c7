"""The commands in README, docs and help can be parsed; those that this machine can run are run."""

import re
import shutil
import sys
from pathlib import Path

import pytest
import typer

from helpers import data_sets, foreign_files, midi_files, miniatures
from helpers.documents import PAGES, ROOT, Command, of_help, of_pages
from helpers.fake_songs import small_base
from helpers.fakes import drawn_player, song
from stage import audio
from stage.checkpoints import adapters
from stage.checkpoints.importers import seanet
from stage.cli import app as cli
from stage.models.lora import new_adapter

pytest.importorskip("yaml")
ALL = [*of_pages(), *of_help()]
STAGE = sorted({command.line for command in ALL if command.line.startswith("stage ")})
RUN = sorted(
    {
        command.line
        for command in of_pages()
        if command.line.startswith("stage ") and not command.why and not command.pattern
        if command.where != "workflow.md"  # tests/session/test_workflow.py runs that page from top to bottom
    }
    | {command.line for command in of_help() if command.args[1] in ("accompany", "click")}
)
RECIPE = """
examples: {stems: [drums], seconds: 2.0, crop: [1.0, 2.0]}
batch: {size: 2, accumulate: 1}
schedule: {steps: 1}
engine: {accelerator: cpu, precision: float32}
loader: {workers: 0}
validation: {songs: 1, examples: 2}
every: {log: 1, validate: 1, save: 1, listen: 100}
track: {tensorboard: false}
"""
SMALL = {"corpus": ["--songs", "1", "--seconds", "4", "--workers", "1"], "bench": ["--only", "nothing"]}
"""Options that make a command small, behind its own."""


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


def test_there_are_commands_of_every_kind():
    assert len(STAGE) > 60 and len(RUN) > 25
    assert {line.split()[1] for line in STAGE} >= set(cli.COMMANDS)
    marked = [command for command in of_pages() if command.why]
    assert marked and len(marked) < len(of_pages()) / 2


@pytest.mark.parametrize("line", [line for line in STAGE if not Command(line, "").pattern])
def test_the_command_is_understood(line):
    understand(Command(line, "").args[1:])


def test_what_is_not_understood_would_fail():
    for line in (
        "accompany song.mp3 --stem drums --loud",
        "evaluate sketch --loud",
        "train finetune a --base b --loud",
    ):
        with pytest.raises(Exception, match="No such option"):
            understand(line.split())


# ---------------------------------------------------------------- a world to type them in


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """A folder with everything that the pages name, small: songs, data sets, models, adapters, recipes."""
    root = tmp_path_factory.mktemp("world")
    stage = small_base(stems=("drums", "bass"), as_embedded=True)
    for place in ("small", "runs/drums/model", "runs/tiny/model", "models/stage-drums", "home/models/musicgen-small"):
        stage.save_pretrained(root / place)
    drawn_player().save_pretrained(root / "small-player")
    shutil.copytree(root / "small", root / "home/models/musicgen-small-drums")
    shutil.copytree(root / "small", root / "home/models/jazz-drummer")
    for stem, places in {
        "drums": ("home/adapters/jazz-drums", "runs/lora/adapter"),
        "guitar": ("home/adapters/my-guitar", "my-guitar"),
    }.items():
        for place in places:
            adapters.save(root / place, new_adapter(stage.decoder, stem, base=stage.config.name))
    for name in ("song.wav", "song.flac"):
        audio.write(root / name, song(3.0, 8000, 1), 8000)
    midi_files.band(root / "song.mid")
    (root / "my-kit").mkdir()
    audio.write(root / "my-kit/hit.wav", song(0.5, 8000, 1), 8000)
    (root / "my-kit/kit.sfz").write_text("<region> sample=hit.wav pitch_keytrack=0", encoding="utf-8")
    (root / "chords.lab").write_text("0.0 1.0 A:min\n1.0 3.0 F:maj\n", encoding="utf-8")
    (root / "beats.txt").write_text("".join(f"{i / 2} {i % 4 + 1}\n" for i in range(12)), encoding="utf-8")
    data_sets.moises(root / "moisesdb")
    miniatures.band(root / "data", songs=4, seconds=6.0)
    miniatures.band(root / "my-stems", songs=1, seconds=3.0)
    assert cli.run(["prepare", str(root / "data"), str(root / "songs"), "--held", "0.4"]) == 0
    (root / "recipes").mkdir()
    for name in ("drums", "ablation-no-click", "tiny"):
        (root / f"recipes/{name}.yaml").write_text(RECIPE, encoding="utf-8")
    (root / "recipes/lora-drums.yaml").write_text(
        RECIPE + "learn: {parameters: lora, rank: 2, layers: [qkv]}\n", encoding="utf-8"
    )
    foreign_files.put_stage_drums(root / "stage-drums.safetensors", root / "t5")
    return root


OUTPUTS = ("--out", "-o", "--export", "--save-grid", "--save-chords", "--export-contexts")


def typed(args: list[str], world: Path) -> list[str]:
    """Copy what a command reads from the world to here; returns its arguments, made small."""
    path = " ".join(args[:2]) if args[0] in ("train", "models", "adapters") else args[0]
    reads = [word for i, word in enumerate(args) if i and args[i - 1] not in OUTPUTS]
    if path in ("prepare", "convert", "corpus", "adapters merge"):
        places = [word for word in reads if not word.startswith("-")]
        reads.remove(places[{"prepare": 1, "convert": 1, "corpus": 0, "adapters merge": 3}[path]])
    for word in reads:
        name = word.removeprefix("./")
        if name.startswith(("song.mp3",)):
            shutil.copy(world / "song.wav", "song.mp3")
        elif name.endswith(".sfz"):  # with its samples
            shutil.copytree((world / name).parent, Path(name).parent)
        elif re.fullmatch(r"[\w./-]+", name) and name != "small" and (world / name).exists():
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if (world / name).is_dir() else shutil.copy)(world / name, name)
    small = {"sketch": str(world / "small"), "player": str(world / "small-player")}
    args = [small.get(word, word) for word in args]
    if path in ("accompany", "click", "band") and "--model" not in args:
        args += ["--model", small["sketch" if "--adapter" in args else "player"]]
    if "--variations" in args:
        args[args.index("--variations") + 1] = "1"
    if "--start" in args:
        args[args.index("--start") + 1] = "1"
        args[args.index("--seconds") + 1] = "2"
    for option in ("--bars", "--workers"):
        if option in args:
            args[args.index(option) + 1] = "1"
    return args + SMALL.get(path, [])


@pytest.mark.parametrize("line", RUN)
def test_the_command_runs(line, world, tmp_path, monkeypatch, capfdbinary):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STAGE_PLAYER", f'"{sys.executable}" -c "import sys; sys.stdin.buffer.read()"')
    monkeypatch.setattr(seanet, "MUSICGEN", foreign_files.tiny_codec())
    shutil.copytree(world / "home", tmp_path / "home")
    monkeypatch.setenv("STAGE_HOME", str(tmp_path / "home"))
    args = typed(Command(line, "").args[1:], world)
    if args[0] == "corpus":
        pytest.importorskip("fluidsynth", exc_type=ImportError)  # the package is there, and the library may not be
    if "models remove" in line:
        args.append("--yes")
    code = cli.run(args)
    printed = capfdbinary.readouterr()
    assert code == 0, printed.err.decode()
    if args[0] in ("accompany", "click"):
        assert printed.out[:4] == b"RIFF" if "-" in args else list(tmp_path.rglob("*.mix.wav"))


# ---------------------------------------------------------------- links


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_every_file_that_is_linked_exists(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
