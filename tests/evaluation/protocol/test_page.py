"""The page of an evaluation: what is put into it is escaped, clips come from the worst on."""

import re

import numpy as np

from stage.audio.files import write
from stage.evaluation.protocol.clips import Clip
from stage.evaluation.protocol.page import write_page
from stage.evaluation.protocol.task import audio_path

TABLES = "| drums, <mixes> | F |\n| --- | --- |\n| a & b | 0.5 (0.4..0.6) |\n\nMeans <b>and</b> intervals."


def test_a_page_of_two_clips(tmp_path):
    made = [Clip(f"click-drums-00{i}", "click", "drums", i, 1.0, bpm=100.0 + i) for i in range(2)]
    rows = []
    for clip, figure in zip(made, (0.9, 0.1)):
        write(audio_path(tmp_path, "model", clip.id), np.full((1, 8000), 0.1, np.float32), 8000)
        row = {"condition": "model", "clip": clip.id, "kind": "click", "stem": "drums", "f_measure": figure}
        rows.append(row)
    write_page(tmp_path / "report.html", "<script>", TABLES, tmp_path, made, rows)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert "<th>drums, &lt;mixes&gt;</th>" in page and "<td>a &amp; b</td>" in page
    assert "<td>0.5<i>(0.4..0.6)</i></td>" in page and "<p>Means &lt;b&gt;and&lt;/b&gt; intervals.</p>" in page
    assert re.findall(r"<section><h3>([\w-]+)<small> (\d+ BPM)", page) == [
        ("click-drums-001", "101 BPM"),  # the worst first
        ("click-drums-000", "100 BPM"),
    ]
    assert page.count("<audio ") == 2 * 3 and page.count('class="down"') == 2 * 2 and "http" not in page
    write_page(tmp_path / "report.html", "one", TABLES, tmp_path, made, rows, most=1)
    assert "1 of 2 clips" in re.sub(r"\s+", " ", (tmp_path / "report.html").read_text(encoding="utf-8"))
