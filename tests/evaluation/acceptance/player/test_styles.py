import numpy as np

from stage.beats.grid import BeatGrid
from stage.evaluation.acceptance.player import styles
from stage.notes import Note

GRID = BeatGrid.regular(120, 4, 16.0)


class Song:
    """A song of one pattern, of which some hits are left out at random."""

    def __init__(self, genre: str, seed: int, meter: str = "4/4"):
        rng = np.random.default_rng(seed)
        self.beats, self.numbers, self.seconds = GRID.times, GRID.numbers, 16.0
        played = {
            "house": [(place, 36) for place in (0, 1, 2, 3)] + [(place + 0.5, 46) for place in range(4)],
            "reggae": [(2, 36), (2, 37)] + [(place / 2, 42) for place in range(8)],
        }[genre]
        rows = []
        for bar in range(8):
            for place, key in played:
                start = (4 * bar + place) * 0.5 + float(rng.normal(0, 0.01))
                if rng.random() > 0.2 and start > 0:
                    rows.append([start, start + 0.1, key, int(rng.integers(60, 120))])
        self.meta = {"genre": genre, "meter": meter, "notes": {"drums": sorted(rows)}}
        self.folder = "song"

    def checked(self):
        import contextlib

        return contextlib.nullcontext()


def test_styles_are_told_apart_by_their_pattern():
    songs = [Song(genre, seed) for seed in range(6) for genre in ("house", "reggae")]
    others = [Song(genre, seed) for seed in range(20, 24) for genre in ("house", "reggae")]
    classifier = styles.train(songs, steps=60)
    assert classifier.styles == ("house", "reggae")
    found = styles.accuracy(classifier, others, 10.0, 1)
    assert {style: np.mean(hits) for style, hits in found.items()} == {"house": 1.0, "reggae": 1.0}
    notes = [Note(*row) for row in others[1].meta["notes"]["drums"]]
    assert classifier.style(notes, GRID) == "reggae"


def test_the_tempo_is_no_feature():
    song = Song("house", 0)
    notes = [Note(*row) for row in song.meta["notes"]["drums"]]
    slower = [note._replace(start=2 * note.start, end=2 * note.end) for note in notes]
    assert np.allclose(styles.features(notes, GRID), styles.features(slower, GRID.scale(2)), atol=1e-6)


def test_one_style_or_another_metre_trains_nothing():
    assert styles.train([Song("house", seed) for seed in range(3)]) is None
    assert styles.train([Song(genre, 1, "3/4") for genre in ("house", "reggae")]) is None


def test_every_style_names_genres_of_the_corpus():
    from stage.corpus.genres import GENRES

    assert set(styles.STYLE_OF) <= {genre.name for genre in GENRES}
    assert all(style in genres for style, genres in styles.STYLES.items())
