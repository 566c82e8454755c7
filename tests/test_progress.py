import io

from rich.console import Console

from stage import progress


def drawn(monkeypatch, terminal: bool, **options) -> str:
    stream = io.StringIO()
    monkeypatch.setattr(progress, "Console", lambda stderr: Console(file=stream, force_terminal=terminal, width=100))
    with progress.bar("reading [0]", 4, **options) as bar:
        bar.update(3)
        bar.print("note: [x] is odd")
        bar.begin("writing", 2)
        bar.update(2, what="done [1]")
    return stream.getvalue()


def test_the_bar_is_drawn_on_a_terminal(monkeypatch):
    text = drawn(monkeypatch, True, keep=True)
    assert "done [1]" in text and "2/2" in text and "note: [x] is odd" in text
    assert "100%" in drawn(monkeypatch, True, keep=True, count=False)


def test_elsewhere_only_lines_are_written(monkeypatch):
    assert drawn(monkeypatch, False) == "note: [x] is odd\n"


def test_what_is_gone_through_is_shown(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(progress, "Console", lambda stderr: Console(file=stream, force_terminal=True, width=100))
    assert list(progress.shown("abc", "letters")) == [(0, "a"), (1, "b"), (2, "c")]
    assert "letters" in stream.getvalue()
