"""The page of a prepared set: figures as bars, problems as a table, names escaped."""

from dataclasses import replace

import numpy as np

from stage.data.song import Problem, Song, Track
from stage.data.summary import SHOWN, lines, summarise, write_page


def test_numbers_and_page(tmp_path):
    tracks = {role: (Track(f"{role}.wav", 100, 360_000),) for role in ("drums", "bass")}
    maps = {"drums": np.ones(10, np.float32), "bass": np.array([1, 0], np.float32)}
    song = Song("one", "a", "b", 100, 360_000, tracks, np.zeros((2, 2)), tempo=123.0, split="train", sounding=maps)
    summary = summarise([song, replace(song, id="two", tempo=148.0, genres=("<rock>",), beats=None)])
    assert summary.hours == {"drums": 2.0, "bass": 2.0} and summary.sounding == {"drums": 2.0, "bass": 1.0}
    problems = [Problem(f"song {i}", "no stems", "<script>", "drums") for i in range(SHOWN + 3)]
    assert lines(summary, problems)[0] == "2 songs (2 train), 1 with beats"
    assert lines(summary, problems)[-1] == f"  {SHOWN + 3} x no stems, e.g. song 0, drums: <script>"
    write_page(tmp_path / "summary.html", "Songs & more", summary, problems)
    page = (tmp_path / "summary.html").read_text(encoding="utf-8")
    assert "<script>" not in page and page.count("&lt;script&gt;") == SHOWN and "&lt;rock&gt;" in page
    assert "<h1>Songs &amp; more</h1>" in page and f"{SHOWN + 3} x no stems" in page
    assert [name in page for name in (">120<", ">130<", ">140<", ">150<")] == [True, True, True, False]
    assert page.count("width:0.0%") == 1  # no song between 130 and 140 BPM
    write_page(tmp_path / "empty.html", "Nothing", summarise([]), [])
    assert "nothing known" in (tmp_path / "empty.html").read_text(encoding="utf-8")
