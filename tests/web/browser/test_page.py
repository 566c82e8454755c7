"""Every state of the page: for everyone (axe, keyboard alone, both widths), with long songs, and with errors."""

import json

import numpy as np
import pytest

SECONDS = 600


def problems(page) -> list[str]:
    """What axe-core finds, a line each."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {node['html'][:120]}" for one in found for node in one["nodes"]]


def times(page, other_than=None) -> list[float]:
    """The session's beats; where some are given, as soon as they are others."""
    for _ in range(100):
        found = page.evaluate("async () => (await import('/static/js/store.js')).state.session.time.times")
        if found != other_than:
            return found
        page.wait_for_timeout(100)
    raise AssertionError("the beats stay as they are")


def begin(page, bars=4, chords="Am F"):
    """A session of a tempo and chords, by the first screen's form."""
    page.get_by_role("button", name="Tempo or chords").click()
    page.get_by_label("Bars").fill(str(bars))
    page.get_by_label("Chords, one a bar").fill(chords)
    page.get_by_role("button", name="Begin").click()
    page.get_by_role("button", name="Play drums").wait_for()


@pytest.mark.parametrize("width, scheme", [(1280, "light"), pytest.param(390, "dark", marks=pytest.mark.slow)])
def test_axe_finds_nothing(open_page, width, scheme):
    from playwright.sync_api import expect

    page = open_page(width, scheme)
    page.get_by_role("button", name="Record").click()
    found = {"start": problems(page)}
    begin(page, bars=2)
    page.locator(".add summary").click()
    page.get_by_label("Takes", exact=True).fill("2")
    page.get_by_role("button", name="Play drums").click()
    found["job"] = problems(page)
    expect(page.locator(".chip:not(.making)")).to_have_count(2)
    page.keyboard.press("Shift+ArrowRight")
    page.get_by_role("button", name="Beats").click()
    page.get_by_text("Name, place").click()
    page.get_by_role("button", name="Chord Am, retype").first.click()
    found["session"] = problems(page)
    page.keyboard.press("Escape")
    for name, key in (("export", None), ("model", None), ("help", "?")):
        if key:
            page.keyboard.press(key)
        else:
            page.get_by_role("button", name="Export" if name == "export" else "Model: ").click()
        page.locator("dialog").wait_for()
        found[name] = problems(page)
        page.keyboard.press("Escape")
        page.locator("dialog").wait_for(state="hidden")
    # one that is opened before the other one has reported that it is closed stays open
    page.get_by_role("button", name="Export").click()
    page.locator("dialog").wait_for()
    page.get_by_role("button", name="Model: ", include_hidden=True).evaluate(
        "button => { document.querySelector('dialog').close(); button.click() }"
    )
    page.wait_for_timeout(200)
    expect(page.get_by_role("dialog", name="Model")).to_be_visible()
    assert {state: lines for state, lines in found.items() if lines} == {}
    # nothing is wider than the window, in which the time line alone scrolls
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_by_keyboard_alone(open_page):
    """Tab reaches every control, each has a visible focus; a stem is made, heard and undone without a pointer."""
    page = open_page()
    page.keyboard.press("Tab")
    for _ in range(30):
        if page.evaluate("document.activeElement.textContent").startswith("Tempo or chords"):
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_label("Bars").wait_for()
    page.get_by_label("Bars").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Play drums").wait_for()

    page.get_by_role("radio", name="drums").focus()
    page.keyboard.press("ArrowRight")
    page.get_by_role("button", name="Play bass").focus()
    page.keyboard.press("Enter")
    page.get_by_role("region", name="Track bass").wait_for()
    page.locator(".job").wait_for(state="detached")
    page.get_by_label("Complexity").focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowRight")
    assert "55 %" in page.get_by_label("Complexity").get_attribute("aria-valuetext")
    assert "55 %" in page.get_by_label("Dynamics").get_attribute("aria-valuetext")

    controls = page.evaluate("""() => [
      ...document.querySelectorAll("button, input, select, summary, a[href], [tabindex='0']")
    ].filter((one) => !one.disabled && one.checkVisibility() && !(one.type === "radio" && !one.checked)).length""")
    reached, unseen = set(), []
    page.evaluate("document.activeElement.blur()")
    for _ in range(controls + 2):
        page.keyboard.press("Tab")
        at = page.evaluate("""() => {
          const one = document.activeElement;
          if (one === document.body) return null;
          window.ids ??= new Map();
          if (!ids.has(one)) ids.set(one, ids.size);
          const shown = [one, one.nextElementSibling, one.closest(".pad")].filter(Boolean).some((part) => {
            const { outlineStyle, outlineWidth } = getComputedStyle(part);
            return outlineStyle !== "none" && parseFloat(outlineWidth) >= 2;
          });
          return [ids.get(one), shown, one.outerHTML.slice(0, 100)];
        }""")
        if at:
            reached.add(at[0])
            if not at[1]:
                unseen.append(at[2])
    assert unseen == []
    assert len(reached) == controls

    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Space")
    page.get_by_role("button", name="Pause").wait_for()
    page.keyboard.press("Space")
    page.keyboard.press("Delete")
    page.get_by_role("region", name="Track bass").wait_for(state="detached")
    page.keyboard.press("Control+z")
    page.get_by_role("region", name="Track bass").wait_for()
    page.keyboard.press("Control+Shift+Z")
    page.get_by_role("region", name="Track bass").wait_for(state="detached")


def test_beats_and_chords_are_mended(open_page):
    from playwright.sync_api import expect

    page = open_page()
    begin(page)
    page.get_by_role("button", name="Chord F, retype").first.click()
    page.keyboard.type("Dm7")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Chord Dm7, retype")).to_have_count(1)
    page.get_by_role("button", name="Chord Am, retype").first.click()
    page.keyboard.type("Hx")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("Hx")
    expect(page.get_by_role("button", name="Chord Am, retype")).not_to_have_count(0)

    page.get_by_role("button", name="Beats and chords").click()
    beats = page.get_by_role("slider", name="Beat ")
    before = times(page)
    box = beats.nth(1).bounding_box()
    page.mouse.move(box["x"] + 4, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 12, box["y"] + 20, steps=4)
    page.mouse.up()
    expect(page.get_by_role("button", name="Undo: ")).to_be_enabled()
    after = times(page, other_than=before)
    moved = np.abs(np.array(after) - before) > 1e-6
    assert moved.tolist() == [i == 1 for i in range(len(before))]
    assert after[1] > before[1]
    page.get_by_role("button", name="Half").click()
    assert len(times(page, other_than=after)) < len(before)
    page.reload()
    expect(page.get_by_role("button", name="Chord Dm7, retype")).to_have_count(1)


def test_errors_are_one_line_where_they_belong(open_page, drop, tmp_path, server):
    from playwright.sync_api import expect

    page = open_page()
    (tmp_path / "notes.wav").write_bytes(b"not a recording at all" * 100)
    drop(page, tmp_path / "notes.wav")
    expect(page.get_by_role("alert")).to_have_count(1)
    line = page.get_by_role("alert").inner_text()
    assert "\n" not in line.strip() and len(line) > 10
    begin(page, bars=2)
    page.locator(".add summary").click()
    page.get_by_label("Seed", exact=True).fill("7")
    page.route("**/jobs", lambda route: route.fulfill(status=429, json={"error": "the queue is full", "code": "full"}))
    page.get_by_role("button", name="Play drums").click()
    expect(page.locator(".add").get_by_role("alert")).to_have_text("the queue is full")
    page.unroute("**/jobs")
    page.get_by_role("button", name="Play drums").click()
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(page.locator(".chip:not(.making)")).not_to_have_count(0)
    assert page.locator(".chip:not(.making)").first.get_attribute("aria-label").startswith("Take 1, seed 7")
    page.goto(f"{server}/#s/nowhere")
    expect(page.get_by_role("alert")).to_have_count(1)


@pytest.mark.slow
def test_a_song_of_ten_minutes_scrolls_without_long_tasks(open_page, browser):
    """A session as long as a song can be, with three tracks full of notes, scrolled at three zooms."""
    page = open_page()
    begin(page, bars=SECONDS // 2 * 5 // 6, chords="Am F C G")  # 100 BPM
    long = page.evaluate("async () => (await import('/static/js/store.js')).state.session")
    assert long["seconds"] == pytest.approx(SECONDS)
    draw = np.random.default_rng(0)
    notes = [
        {"start": float(at), "length": 0.2, "pitch": int(draw.integers(36, 60)), "velocity": 90, "piece": None}
        for at in np.arange(0, SECONDS, 0.125)
    ]
    take = {"name": "a", "number": 1, "seed": 0, "prompt": "", "performance": {}, "instrument": "", "check": {}}
    take |= {"rank": 1, "remarks": [], "regions": [], "model": "player", "file": long["click"], "notes": "notes"}
    track = {"gain": 0, "pan": 0, "mute": False, "lock": False, "kept": "a", "takes": [take]}
    tracks = [track | {"name": stem, "stem": stem} for stem in ("drums", "bass", "keys")]
    page.route(
        "**/api/files/notes", lambda route: route.fulfill(body=json.dumps(notes), content_type="application/json")
    )
    page.route(f"**/api/sessions/{long['id']}", lambda route: route.fulfill(json=long | {"tracks": tracks}))
    page.reload()
    page.get_by_role("region", name="Track keys").wait_for()
    page.evaluate("""async () => {
      const { player } = await import("/static/js/store.js");
      await Promise.all([...player.channels.values()].map((channel) => channel.ready));
    }""")
    page.wait_for_timeout(500)
    # by the processor's time of each task, in which other work on the machine does not count
    browser.start_tracing(page=page, categories=["disabled-by-default-devtools.timeline", "__metadata"])
    page.locator(".scroller").hover()
    ends = []
    for zoom in ("+", "0", "++++++++"):
        for key in zoom:
            page.keyboard.press(key)
        for _ in range(25):
            page.mouse.wheel(600, 0)
            page.wait_for_timeout(20)
        ends.append(page.evaluate("document.querySelector('.scroller').scrollLeft"))
    assert ends[0] > 5000 and ends[2] > 5000
    events = json.loads(browser.stop_tracing())["traceEvents"]
    threads = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["name"] == "thread_name"}
    mains = {key for key, name in threads.items() if name == "CrRendererMain"}
    tasks = [
        event["tdur"] / 1000
        for event in events
        if event["name"] == "RunTask" and (event["pid"], event["tid"]) in mains and "tdur" in event
    ]
    print(f"{len(tasks)} tasks, the longest {max(tasks):.0f} ms")
    assert len(tasks) > 75
    assert max(tasks) < 200


def test_a_server_elsewhere_is_asked_with_its_token(open_page):
    """As a server with a token does, every request without it is refused; the page asks for it once."""
    from playwright.sync_api import expect

    def guard(route):
        if route.request.headers.get("authorization") == "Bearer the-right-token":
            route.continue_()
        else:
            route.fulfill(status=401, json={"error": "a token is needed", "code": "token"})

    page = open_page()
    page.route("**/api/**", guard)
    page.reload()
    dialog = page.get_by_role("dialog", name="Token")
    dialog.get_by_role("textbox").fill("a-wrong-token")
    dialog.get_by_role("button", name="Go on").click()
    expect(dialog.get_by_role("alert")).to_have_count(1)
    dialog.get_by_role("textbox").fill("the-right-token")
    dialog.get_by_role("button", name="Go on").click()
    expect(dialog).to_have_count(0)
    begin(page, bars=2)
    page.reload()
    expect(page.get_by_role("button", name="Play drums")).to_be_visible()
    expect(dialog).to_have_count(0)
