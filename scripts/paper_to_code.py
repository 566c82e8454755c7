"""Writes docs/paper-to-code.md: each part of the paper, and the file and line where it stands in the code.

    python scripts/paper_to_code.py            # prints the page
    python scripts/paper_to_code.py --write    # writes it

Lines are looked up by name, so that the page is right again after every change; tests/test_docs.py compares.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "paper-to-code.md"

INTRO = """# From the paper to the code, line by line

STAGE, [arXiv 2504.05690](https://arxiv.org/abs/2504.05690), built on MusicGen, [arXiv 2306.05284](https://arxiv.org/abs/2306.05284).
The rows go by the paper's topics in its order. This page is written by `python scripts/paper_to_code.py --write`;
[method.md](method.md) describes what is ours beside it.
"""

PARTS: dict[str, list[tuple[str, str, str]]] = {
    "The idea": [
        ("`context, separator, target` as one row of tokens", "src/stage/prefix.py", "row"),
        (
            "the context token: rows added to the embedding tables, the padding row zeroed",
            "src/stage/checkpoints/importers/names.py",
            "make_base",
        ),
        ("a click track is a context like any other", "src/stage/beats/grid.py", "click_track"),
        ("one model for each stem; several on one base", "src/stage/models/lora.py", "Voice"),
    ],
    "The sequence": [
        ("delay pattern over the whole row", "src/stage/prefix.py", "interleave"),
        ("left padding, attention masks, positions from the first attended column", "src/stage/prefix.py", "batch"),
        ("only columns that count are kept", "src/stage/prefix.py", "trim"),
        ("loss: cross-entropy on the target's frames, mean over codebooks", "src/stage/prefix.py", "loss"),
    ],
    "The language model": [
        (
            "decoder: pre-norm layers, self-attention, cross-attention to the text, feed-forward",
            "src/stage/models/decoder.py",
            "Decoder",
        ),
        ("sinusoidal positions", "src/stage/models/decoder.py", "sinusoids"),
        ("EnCodec, 32 kHz, 4 codebooks, 50 frames/s", "src/stage/models/encodec.py", "EncodecCodec"),
        ("T5 text encoder", "src/stage/models/text.py", "T5Text"),
    ],
    "Generation": [
        (
            "classifier-free guidance that drops text and context together",
            "src/stage/generation/decoding.py",
            "branches",
        ),
        ("sampling: coefficient, top-k, temperature", "src/stage/generation/decoding.py", "Sampling"),
        ("column by column, with a cache for each branch", "src/stage/generation/decoding.py", "begin"),
        ("from a mix, and from a metronome", "src/stage/pipeline.py", "Stage"),
    ],
    "Data": [
        ("songs with stems: MoisesDB, MUSDB18, Slakh, any folder", "src/stage/data/open.py", "open_songs"),
        ("beats by a tracker, tags, silence", "src/stage/data/prepare.py", "prepare"),
        ("held-out songs", "src/stage/training/finetune/songs.py", "split"),
    ],
    "Training": [
        (
            "every constant of the examples: subsets or clicks, crops, dropouts, speed and pitch, silence",
            "src/stage/data/examples.py",
            "CutOptions",
        ),
        ("an example", "src/stage/data/examples.py", "Cutter"),
        ("recipe: optimiser, schedule, batch, precision", "src/stage/training/finetune/recipe.py", "Recipe"),
        ("the loop", "src/stage/training/finetune/run.py", "Run"),
        ("what learns: all weights, LoRA, or a part", "src/stage/training/finetune/trainable.py", "prepare"),
        (
            "the paper's recipes: recipes/drums.yaml, bass.yaml; without click pairs, ablation-no-click.yaml",
            "src/stage/training/finetune/recipe.py",
            "read",
        ),
    ],
    "Evaluation": [
        ("mixes of held-out songs, metronomes, seeds", "src/stage/evaluation/protocol/clips.py", "clips"),
        (
            "beats: F-measure, tempo, mean error, earth mover's distance",
            "src/stage/evaluation/figures/beats.py",
            "beat_figures",
        ),
        ("coherence: COCOLA", "src/stage/evaluation/coherence/cocola.py", "Cocola"),
        ("quality: FAD", "src/stage/evaluation/figures/distances.py", "fad"),
        ("quality: KAD", "src/stage/evaluation/figures/distances.py", "kad"),
        ("text: CLAP", "src/stage/evaluation/embeddings/clap.py", "Clap"),
        ("the tables, with controls", "src/stage/evaluation/protocol/report.py", "tables"),
        ("all of it: scripts/reproduce_paper.py", "scripts/reproduce_paper.py", "stages"),
    ],
}


def line(file: str, name: str) -> int:
    """Line of a function or class at the top of a file. Raises LookupError where there is none."""
    for node in ast.parse((ROOT / file).read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name:
            return node.lineno
    raise LookupError(f"{file} has no {name}")


def page() -> str:
    """The page as Markdown."""
    parts = [INTRO]
    for title, rows in PARTS.items():
        parts.append(f"## {title}\n\n| in the paper | in the code |\n| --- | --- |")
        for what, file, name in rows:
            number = line(file, name)
            parts[-1] += f"\n| {what} | [`{file.removeprefix('src/stage/')}:{number}`](../{file}#L{number}) `{name}` |"
    return "\n\n".join(part.strip() for part in parts) + "\n"


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        PAGE.write_text(page(), encoding="utf-8")
    else:
        print(page(), end="")
