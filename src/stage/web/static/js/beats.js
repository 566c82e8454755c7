// Beats and chords are seen, and mended: lines are dragged, chords retyped, all of it halved, doubled, shifted.

import { Entry, Problem } from "./parts.js";
import { changed, set, state, step, view } from "./store.js";
import { above } from "./time.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "../vendor/preact.js";

const NEAR = 8; // pixels
const LEAST = 0.02; // seconds between two beats

/** What part of the time line is in sight, with as much on both sides; a new one when that no longer covers it. */
function useSight() {
  const [sight, setSight] = useState({ start: 0, end: 0, perSecond: 0 });
  useEffect(() => {
    let last = sight;
    return view.paint(() => {
      if (last.perSecond === view.perSecond && view.start >= last.start && Math.min(view.end, view.seconds) <= last.end) return;
      const wide = view.end - view.start;
      last = { start: Math.max(0, view.start - wide), end: view.end + wide, perSecond: view.perSecond };
      setSight(last);
    });
  }, []);
  return sight;
}

/** The chords over their stretch of time; each is a button that becomes a field. */
export function ChordRow() {
  const sight = useSight();
  const [open, setOpen] = useState(null);
  const chords = state.session.time.chords;
  const first = Math.max(0, above(chords, sight.start, (chord) => chord[1]));
  const shown = [];
  for (let i = first; i < chords.length && chords[i][0] < sight.end; i++) {
    const [start, end, name] = chords[i];
    const width = (end - start) * sight.perSecond;
    if (width < 22 && open !== i) continue; // no room for a name: zoom in
    const style = { left: `${start * sight.perSecond}px`, width: `${Math.max(1, width - 2)}px` };
    const text = shownName(name);
    const retype = (typed) => {
      setOpen(null);
      const made = chords.map((chord, j) => (j === i ? [chord[0], chord[1], typed || "N"] : chord));
      step("beats", { do: "chords", chords: made }, true);
    };
    shown.push(
      open === i
        ? html`<span class="chord open" style=${{ ...style, minWidth: "72px" }} key=${`field ${i}`} >
            <${ChordField} text=${text === "–" ? "" : text} start=${start} onValue=${retype} onEnd=${() => setOpen(null)} /></span>`
        : html`<button type="button" class="chord" style=${style} key=${i} title=${`${text}: retype`} aria-label=${`Chord ${text === "–" ? "none" : text}, retype`}
            onClick=${() => setOpen(i)}>${text}</button>`,
    );
  }
  return html`<div class="row chord-row"><div class="head soft">Chords</div><div class="lane">${shown}</div>${!state.editing && html`<${Problem} at="beats" />`}</div>`;
}

/** A field in a chord's place; it has the focus before the next key is pressed. */
function ChordField({ text, start, onValue, onEnd }) {
  const place = useRef();
  useLayoutEffect(() => place.current.querySelector("input").select(), []);
  return html`<span ref=${place} onfocusout=${onEnd}><${Entry} value=${text} label=${`Chord at ${start.toFixed(1)} seconds`} onValue=${onValue} /></span>`;
}

function shownName(name) {
  return name === "N" || name === "N.C." || name === "X" ? "–" : name;
}

/** Lines of the beats in sight as handles: to be dragged, or moved by arrow keys. */
export function BeatLines() {
  const sight = useSight();
  const { times, numbers } = state.session.time;
  const from = above(times, sight.start - 1e-6);
  const shown = [];
  const tight = times.length > 1 && ((times[times.length - 1] - times[0]) / (times.length - 1)) * sight.perSecond < 12;
  for (let i = from; !tight && i < times.length && times[i] < sight.end; i++) {
    const label = `Beat ${numbers[i]} at ${times[i].toFixed(3)} seconds`;
    const key = (event) => {
      const by = { ArrowLeft: -0.005, ArrowRight: 0.005 }[event.key];
      if (!by) return;
      event.preventDefault();
      event.stopPropagation();
      moveBeat(i, times[i] + by * (event.shiftKey ? 4 : 1));
    };
    shown.push(html`<span class=${`beat ${numbers[i] === 1 ? "one" : ""}`} key=${i} role="slider" tabindex="0" aria-label=${`Beat ${numbers[i]}`}
      aria-valuenow=${times[i].toFixed(3)} aria-valuemin="0" aria-valuemax=${state.session.seconds.toFixed(3)} aria-valuetext=${label} title=${label}
      style=${{ left: `${times[i] * sight.perSecond}px` }} onKeyDown=${key}></span>`);
  }
  return html`${shown}`;
}

/** A beat's place, between its neighbours; the session's are drawn at once and sent after. */
function placed(times, i, at) {
  const least = i > 0 ? times[i - 1] + LEAST : 0;
  const most = i < times.length - 1 ? times[i + 1] - LEAST : state.session.seconds;
  return times.map((time, j) => (j === i ? Math.min(most, Math.max(least, at)) : time));
}

function moveBeat(i, at) {
  const { times, numbers } = state.session.time;
  return step("beats", { do: "beats", times: placed(times, i, at), numbers }, true);
}

/** Drag the beat under the pointer, where one is near. Returns whether there is one. */
export function grabBeat(event, secondsAt) {
  const session = state.session;
  const { times } = session.time;
  const here = secondsAt(event);
  const after = above(times, here);
  const near = [after - 1, after].filter((i) => i >= 0 && i < times.length).sort((a, b) => Math.abs(times[a] - here) - Math.abs(times[b] - here))[0];
  if (near === undefined || Math.abs(times[near] - here) * view.perSecond > NEAR) return false;
  const element = event.currentTarget;
  element.setPointerCapture(event.pointerId);
  const off = times[near] - here;
  let last = null;
  const move = (next) => {
    last = secondsAt(next) + off;
    session.time = { ...session.time, times: placed(times, near, last) };
    changed();
  };
  const end = (next) => {
    for (const [name, listener] of listeners) element.removeEventListener(name, listener);
    const moved = last !== null && next.type === "pointerup";
    session.time = { ...session.time, times };
    if (moved) moveBeat(near, last);
    else changed();
  };
  const listeners = [["pointermove", move], ["pointerup", end], ["pointercancel", end]];
  for (const [name, listener] of listeners) element.addEventListener(name, listener);
  return true;
}

export function EditBar() {
  const { time } = state.session;
  const beats = (change, by) => step("beats", { do: "beats", change, ...(by ? { by } : {}) });
  const some = time.times.length > 1;
  const button = (label, tip, act) => html`<button type="button" class="plain" title=${tip} onClick=${act}>${label}</button>`;
  const submit = (event, send) => {
    event.preventDefault();
    const text = event.target.elements[0].value.trim();
    if (text) send(text);
  };
  const form = time.sections.map((section, i) => {
    const bars = state.bars.filter((bar) => bar.bar > 0).length;
    const next = time.sections[i + 1]?.bar ?? bars + 1;
    return `${section.name} ${next - section.bar}${section.energy === null || section.energy === undefined ? "" : ` ${section.energy}`}`;
  });
  return html`<section class="bar edit" aria-label="Beats and chords">
    ${some &&
    html`<span class="line"><span class="soft">Tempo</span>
        ${button("Half", "Every other beat", () => beats("half"))} ${button("Double", "A beat between two", () => beats("double"))}</span>
      <span class="line"><span class="soft">Bar 1</span>
        ${button("◀ a beat", "The bars begin a beat earlier", () => beats("shift", -1))} ${button("a beat ▶", "The bars begin a beat later", () => beats("shift", 1))}</span>`}
    <form class="line" onSubmit=${(event) => submit(event, (text) => step("beats", { do: "chords", chords: text }))}>
      <label>Chords by bars <input type="text" class="wider" placeholder="Am F C G" autocomplete="off" /></label><button type="submit" class="plain">Set</button></form>
    ${some &&
    html`<form class="line" onSubmit=${(event) => submit(event, (text) => step("beats", { do: "sections", form: text }))}>
      <label>Form <input type="text" class="wider" placeholder="intro 4, verse 8" defaultValue=${form.join(", ")} key=${form.join(", ")} autocomplete="off" /></label><button type="submit" class="plain">Set</button></form>`}
    <span class="soft">${some ? "Drag a beat's line in the ruler; click a chord to retype it. Takes that are there stay as they are." : "No beats were found in this song: stems follow its sound alone."}</span>
    <button type="button" class="plain" onClick=${() => set({ editing: false })}>Done</button>
    <${Problem} at="beats" />
  </section>`;
}
