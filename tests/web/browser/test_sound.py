"""What is heard: every channel at the same sample, through loops and other takes; what is drawn is the same sound."""

import io

import numpy as np
import pytest
import soundfile

RATE = 44100

LISTEN = """async () => {
  const { player } = await import("/static/js/store.js");
  const context = player.context;
  await context.resume();
  await Promise.all([...player.channels.values()].map((channel) => channel.ready));
  const names = [...player.channels.keys()];
  // one node for the left sides of all channels: the same index is the same frame
  const merger = context.createChannelMerger(names.length);
  names.forEach((name, i) => {
    const split = context.createChannelSplitter(2);
    player.channels.get(name).out.connect(split);
    split.connect(merger, 0, i);
  });
  const tap = context.createScriptProcessor(4096, names.length, 1);
  window.clicks = [];
  let begun = 0;
  const gains = { click: 10 ** (-6 / 20) }; // what fades alike is then found or not found alike
  tap.onaudioprocess = ({ inputBuffer }) => {
    names.forEach((name, i) => {
      inputBuffer.getChannelData(i).forEach((value, at) => {
        if (Math.abs(value) > 0.2 * (gains[name] ?? 1)) window.clicks.push([name, begun + at]);
      });
    });
    begun += inputBuffer.length;
  };
  merger.connect(tap).connect(context.destination);
  window.tap = tap;
  return names;
}"""


@pytest.fixture(scope="module")
def session(server):
    """A session of two bars with drums and bass of two takes each."""
    from stage.client import Client

    made = Client(server, token="").begin(bpm=120, bars=2, chords="Am F")
    for stem in ("drums", "bass"):
        made.add(stem, takes=2, seed=1)
    return made.id


def clicks(seconds: float) -> bytes:
    """Clicks of one sample, five a second, at places that have no common measure with blocks of 128 frames."""
    sound = np.zeros(round(seconds * RATE), np.float32)
    sound[1009 :: RATE // 5] = 0.9
    file = io.BytesIO()
    soundfile.write(file, sound, RATE, format="WAV", subtype="FLOAT")
    return file.getvalue()


def test_channels_start_loop_and_change_within_a_millisecond(open_page, session):
    """All files are replaced by the same clicks; then every click of one channel has its like in the others."""
    page = open_page()
    made = page.request.get(f"{page.url.rstrip('/')}/api/sessions/{session}").json()
    body = clicks(made["seconds"])
    notes = {take["notes"] for track in made["tracks"] for take in track["takes"]}

    def replaced(route):
        name = route.request.url.rsplit("/", 1)[-1]
        if name in notes or "peaks" in name:
            route.continue_()
        else:
            route.fulfill(body=body, content_type="audio/wav")

    page.route("**/api/files/*", replaced)
    page.evaluate("id => { location.hash = `#s/${id}` }", session)
    page.get_by_role("button", name="Play", exact=True).wait_for()
    page.wait_for_timeout(500)
    names = page.evaluate(LISTEN)
    assert len(names) == 3

    page.keyboard.press("ArrowRight")  # to bar 2, which is looped
    page.keyboard.press("l")
    page.keyboard.press("Space")
    page.wait_for_timeout(2600)  # beyond the loop's end
    drums = page.get_by_role("region", name="Track drums")
    drums.get_by_role("button", name="Take 2,").click()  # while it plays
    page.wait_for_timeout(1500)
    page.keyboard.press("Escape")  # no loop, from where it stands
    page.wait_for_timeout(600)
    page.keyboard.press("Space")

    found = {name: np.array([frame for one, frame in page.evaluate("clicks") if one == name]) for name in names}
    offsets = np.array([np.abs(found[names[0]] - frame).min() for name in names[1:] for frame in found[name]])
    alone = offsets > RATE // 10  # one that fell into a fade of the other channel alone
    counts = [len(found[name]) for name in names]
    assert min(counts) >= 18 and alone.sum() <= 2, (counts, offsets)
    assert offsets[~alone].max() == 0, f"{offsets[~alone].max() / RATE * 1000:.3f} ms"
    steps = np.diff(found[names[0]])
    assert np.mean(steps == RATE // 5) > 0.6, steps  # the clicks of the file, as they stand in it


def test_mute_solo_and_gain_are_heard(open_page, session):
    page = open_page(address=f"/#s/{session}")
    page.get_by_role("button", name="Mute drums").wait_for()

    page.keyboard.press("l")
    page.keyboard.press("Space")

    def gains(drums, bass):
        for _ in range(50):
            found = page.evaluate("""async () => {
              const { player } = await import("/static/js/store.js");
              return ["track drums", "track bass"].map((name) => player.channels.get(name).left.gain.value);
            }""")
            if found == pytest.approx([drums, bass], abs=1e-3):
                return
            page.wait_for_timeout(100)
        assert found == pytest.approx([drums, bass], abs=1e-3)

    gains(1, 1)
    page.get_by_role("button", name="Solo bass").click()
    gains(0, 1)
    page.get_by_role("button", name="Solo bass").click()
    page.get_by_role("button", name="Mute bass").click()
    page.get_by_role("button", name="Mute bass", pressed=True).wait_for()
    gains(1, 0)
    page.get_by_label("Gain of drums").fill("-6")
    gains(10 ** (-6 / 20), 0)
    page.reload()  # gain and mute are the session's
    page.get_by_role("button", name="Mute bass", pressed=True).wait_for()
    page.keyboard.press("Space")
    gains(10 ** (-6 / 20), 0)


def test_what_is_drawn_is_the_sound(open_page, session, server):
    """The height of the waveform at every pixel is that of the file between the pixel's times."""
    page = open_page(address=f"/#s/{session}")
    page.get_by_role("button", name="Mute drums").wait_for()
    page.wait_for_timeout(800)
    made = page.request.get(f"{server}/api/sessions/{session}").json()
    sound, rate = soundfile.read(
        io.BytesIO(page.request.get(f"{server}/api/files/{made['click']}").body()), always_2d=True
    )
    scale, heights, beats = page.evaluate("""async () => {
      const { view } = await import("/static/js/store.js");
      const canvas = document.querySelector(".song canvas");
      const { width, height } = canvas;
      const data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
      const color = getComputedStyle(document.documentElement).getPropertyValue("--song").trim();
      const wanted = [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16));
      const heights = [];
      for (let x = 0; x < width; x++) {
        let n = 0;
        for (let y = 0; y < height; y++) {
          const at = 4 * (y * width + x);
          if (data[at + 3] > 100 && wanted.every((value, i) => Math.abs(data[at + i] - value) < 12)) n++;
        }
        heights.push(n);
      }
      const { state } = await import("/static/js/store.js");
      return [view.perSecond, heights, state.session.time.times];
    }""")
    level = np.abs(sound).max(axis=1)
    edges = np.minimum(len(level) - 1, (np.arange(len(heights) + 1) / scale * rate).astype(int))
    true = np.array([level[a : max(b, a + 1)].max() for a, b in zip(edges, edges[1:])])
    lines = np.round(np.array(beats) * scale).astype(int)  # the waveform has another colour over a beat's line
    free = np.setdiff1d(np.arange(len(heights)), lines)
    heights, true = np.array(heights)[free], true[free]
    assert (true > 0.1).sum() > 20 and (true < 0.001).sum() > 20
    assert heights[true > 0.3].min() > 8
    assert np.median(heights[true < 0.001]) <= 2
    assert np.corrcoef(heights, true)[0, 1] > 0.9
