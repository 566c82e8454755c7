"""A take that is listened to while it is made: at its place in the song, to the frame, and then its file."""

import base64
import io

import numpy as np
import soundfile

RATE, BLOCK, SCALE = 44100, 4096, 2**22

RECORD = """async () => {
  const { player } = await import("/static/js/store.js");
  const { MADE } = await import("/static/js/listening.js");
  const { context } = player;
  window.player = player;
  const merger = context.createChannelMerger(3);
  // the third channel counts the context's frames: on a busy machine blocks are handed over long after they sounded
  const frames = new AudioBuffer({ length: 300 * context.sampleRate, sampleRate: context.sampleRate });
  frames.getChannelData(0).forEach((_, i, data) => (data[i] = i));
  const clock = new AudioBufferSourceNode(context, { buffer: frames });
  clock.connect(merger, 0, 2);
  const began = Math.ceil((context.currentTime + 0.1) * context.sampleRate);
  clock.start(began / context.sampleRate);
  window.now = () => Math.ceil(context.currentTime * context.sampleRate) - began;
  const tapped = new Set();
  const listen = (key, i) => {
    const channel = player.channels.get(key);
    if (!channel || tapped.has(channel)) return;
    tapped.add(channel);
    const split = context.createChannelSplitter(2);
    channel.out.connect(split);
    split.connect(merger, 0, i);
  };
  window.blocks = [];
  const tap = context.createScriptProcessor(4096, 3, 1);
  tap.onaudioprocess = ({ inputBuffer }) => {
    const growing = player.channels.get(MADE) !== undefined;
    const part = [0, 1, 2].map((i) => inputBuffer.getChannelData(i).slice());
    if (player.playing) window.blocks.push({ growing, part });
  };
  merger.connect(tap).connect(context.destination);
  window.tap = tap;
  setInterval(() => (listen("click", 0), listen(MADE, 1), listen("track drums", 1)), 5);
}"""
SOUNDING = "() => blocks.filter((one) => one.part[1].some((x) => Math.abs(x) > 1e-3)).length > 12"
# not async: what it returned would be a promise, which is true
FILED = "() => player.channels.get('track drums')?.buffer instanceof AudioBuffer"
FETCH = """() => {
  const bytes = new Uint8Array(new Float32Array(blocks.flatMap(({ part }) => part.flatMap((one) => [...one]))).buffer);
  let text = "";
  for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
  return [btoa(text), blocks.map((one) => one.growing)];
}"""


def counting(frames: int) -> bytes:
    """A sound whose samples are the numbers of their frames: where any block of it belongs can be read from it."""
    file = io.BytesIO()
    soundfile.write(file, np.arange(frames, dtype=np.float32) / SCALE, RATE, format="WAV", subtype="FLOAT")
    return file.getvalue()


def test_a_take_is_listened_to_while_it_is_made(open_page, server):
    """The metronome's file is replaced by one that counts frames; what is played beside it must be the take there."""
    from stage.client import Client

    session = Client(server, token="").begin(bpm=120, bars=16)
    page = open_page()
    body = counting(32 * RATE)
    page.route(
        f"**/api/files/{session.state['click']}", lambda route: route.fulfill(body=body, content_type="audio/wav")
    )
    page.evaluate("id => { location.hash = `#s/${id}` }", session.id)
    page.get_by_role("button", name="Play drums").wait_for()
    page.keyboard.press("ArrowRight")  # the playhead stands at bar 2; bars 2 to 4 are looped
    for _ in range(3):
        page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("l")
    page.locator(".add summary").click()
    page.get_by_label("Takes", exact=True).fill("1")
    page.evaluate(RECORD)
    page.get_by_role("button", name="Play drums").click()
    row = page.get_by_role("region", name="Being made: drums")
    row.get_by_role("button", name="Take 1, being made").click()
    page.get_by_role("button", name="Pause").wait_for()
    page.wait_for_function(SOUNDING)
    page.get_by_role("region", name="Track drums").wait_for()
    page.wait_for_function(FILED)
    file_from = page.evaluate("now()") + 0.2 * RATE  # its file alone plays from here on: the change takes 68 ms
    page.wait_for_function("from => blocks.filter(({ part }) => part[2][0] >= from).length > 12", arg=file_from)
    page.get_by_role("button", name="Pause").click()

    text, growing = page.evaluate(FETCH)
    parts = np.frombuffer(base64.b64decode(text), np.float32).reshape(-1, 3, BLOCK)
    take = session.refresh().track("drums")["takes"][0]
    sound = page.request.get(f"{server}/api/files/{take['file']}").body()
    stem = soundfile.read(io.BytesIO(sound), always_2d=True)[0][:, 0]
    exact, alike, firsts = [], [], []
    for i, (count, heard, clock) in enumerate(parts):
        frames = np.round(count * 10 ** (6 / 20) * SCALE) - np.arange(BLOCK)
        at = int(np.median(frames))
        there = stem[at : at + BLOCK]
        if np.abs(frames - at).max() > 1 or len(there) < BLOCK or np.abs(there).max() < 1e-3:
            continue  # a seam of what the test recorded, or silence
        firsts.append(at)
        if clock[0] >= file_from:
            exact.append(np.abs(heard - there).max())
        elif growing[i]:
            gain = heard @ there / (there @ there)
            alike.append(np.abs(heard - gain * there).max() if gain > 0.05 else 1.0)
    assert 2 * RATE <= min(firsts) and max(firsts) < 8 * RATE, "outside of the loop"
    assert len(exact) >= 5 and max(exact) < 1e-6
    # what was not there in time was silent, and loud hits are limited in the file alone; else it is alike to 16 bits
    assert len(alike) >= 5 and np.mean(np.array(alike) < 2e-4) > 0.3, alike
