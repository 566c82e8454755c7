// The time line: bars, form and chords, the song and its tracks, under one playhead and one scroll bar.

import { BeatLines, ChordRow, grabBeat } from "./beats.js";
import { drawGrid, drawNotes, drawRegion, drawWave, prepare } from "./draw.js";
import { audition, mark, moveTrack } from "./keys.js";
import { MADE, trackOf } from "./listening.js";
import { Problem } from "./parts.js";
import { colorName, drawLevel, onPicture, palette } from "./pictures.js";
import { audible, bufferOf, changed, clicks, listenTo, sounding, notesOf, peaksOf, player, set, state, step, stopListening, toggle, toggleClicks, view } from "./store.js";
import { barAt, clock } from "./time.js";
import { TrackStrip } from "./track.js";
import { html, useEffect, useLayoutEffect, useRef } from "../vendor/preact.js";

const RULER = 32;
export const narrow = matchMedia("(max-width: 800px)");
narrow.addEventListener("change", changed);
const OPENED = 24; // bars in sight when a session is opened

export function TimeLine() {
  const { session } = state;
  const scroller = useRef();
  const content = useRef();
  useLayoutEffect(() => {
    const element = scroller.current;
    view.scroller = element;
    view.seconds = session.seconds;
    view.onZoom = () => {
      content.current.style.setProperty("--length", `${view.seconds * view.perSecond}px`);
      changed();
    };
    let first = true;
    const measure = () => {
      view.head = parseFloat(getComputedStyle(element).getPropertyValue("--head")) || 0;
      view.width = Math.max(80, element.clientWidth - view.head);
      element.style.setProperty("--width", `${view.width}px`);
      if (first) {
        const last = state.bars[Math.min(OPENED, state.bars.length) - 1];
        view.fit(0, Math.min(session.seconds, last ? last.end : 60));
        first = false;
      } else if (view.perSecond < view.least) view.fit();
      else view.ask();
    };
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    measure();
    const wheel = (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      view.zoom(Math.exp(-event.deltaY / 300), view.start + (event.clientX - laneLeft()) / view.perSecond);
    };
    element.addEventListener("wheel", wheel, { passive: false });
    element.addEventListener("scroll", () => view.ask(), { passive: true });
    return () => {
      observer.disconnect();
      element.removeEventListener("wheel", wheel);
      view.scroller = null;
    };
  }, []);
  const { time } = session;
  return html`<section class="scroller" ref=${scroller} tabindex="0" aria-label="Time line">
    <div class="content" ref=${content}>
      <${Ruler} />
      ${time.sections.length > 0 && html`<${FormRow} />`}
      ${time.chords && html`<${ChordRow} />`}
      <${SongRow} />
      ${session.tracks.map((track) => html`<${TrackRow} key=${track.name} track=${track} />`)}
      ${making(null).map((job) => html`<${MakingRow} key=${job.id} job=${job} />`)}
      ${session.tracks.length === 0 && !making(null).length && html`<p class="hint">Choose an instrument: it is played to what you see here.</p>`}
      <${Playhead} />
    </div>
  </section>`;
}

function laneLeft() {
  return view.scroller.getBoundingClientRect().left + view.head;
}

function secondsAt(event) {
  return Math.max(0, Math.min(view.seconds, view.start + (event.clientX - laneLeft()) / view.perSecond));
}

/** Pointer on a lane: a click moves the playhead, a drag marks bars. touch: whether a finger marks too (elsewhere it
 * scrolls). */
function press(event, touch, onClick) {
  if (event.button !== 0 || event.target.closest("button, input")) return;
  if (touch && state.editing && grabBeat(event, secondsAt)) return;
  const element = event.currentTarget;
  const from = event.clientX;
  const begun = secondsAt(event);
  const marks = state.bars.length > 0 && (touch || event.pointerType !== "touch");
  let dragging = false;
  if (marks) element.setPointerCapture(event.pointerId);
  const move = (next) => {
    if (!marks || (!dragging && Math.abs(next.clientX - from) < 5)) return;
    dragging = true;
    const right = laneLeft() + view.width;
    if (next.clientX > right - 16) view.scroller.scrollLeft += 16;
    if (next.clientX < laneLeft() + 16) view.scroller.scrollLeft -= 16;
    mark(barAt(state.bars, begun), barAt(state.bars, secondsAt(next)));
  };
  const end = (next) => {
    element.removeEventListener("pointermove", move);
    element.removeEventListener("pointerup", end);
    element.removeEventListener("pointercancel", end);
    if (next.type === "pointerup" && !dragging && Math.abs(next.clientX - from) < 5) {
      player.seek(begun);
      onClick?.();
    }
  };
  element.addEventListener("pointermove", move);
  element.addEventListener("pointerup", end);
  element.addEventListener("pointercancel", end);
}

/** A canvas that is drawn anew whenever something of it can have changed. paint(pen, colors, height). */
export function Lane({ height, paint, label }) {
  const canvas = useRef();
  const current = useRef();
  current.current = paint;
  useEffect(
    () => view.paint(() => canvas.current && current.current(prepare(canvas.current, view.width, height), palette(), height)),
    [height],
  );
  return html`<canvas ref=${canvas} role="img" aria-label=${label}></canvas>`;
}

function Ruler() {
  const { session, bars, region } = state;
  const paint = (pen, colors, height) => {
    drawRegion(pen, view, region, height, colors.region);
    drawGrid(pen, view, session.time, bars, height, colors);
    pen.fillStyle = colors.soft;
    pen.font = "12px system-ui, sans-serif";
    if (!bars.length) {
      const gap = [1, 2, 5, 10, 15, 30, 60, 120].find((step) => step * view.perSecond > 56) ?? 300;
      for (let at = Math.floor(view.start / gap) * gap; at < view.end; at += gap) pen.fillText(clock(at), view.x(at) + 4, 20);
      return;
    }
    const perBar = ((bars[bars.length - 1].end - bars[0].start) / bars.length) * view.perSecond;
    const every = [1, 2, 4, 8, 16, 32, 64].find((step) => step * perBar > 32) ?? 128;
    for (const bar of bars) {
      if (bar.bar > 0 && (bar.bar - 1) % every === 0 && bar.end > view.start - 4 && bar.start < view.end)
        pen.fillText(String(bar.bar), view.x(bar.start) + 4, 20);
    }
  };
  return html`<div class="row ruler">
    <div class="head soft">Bars</div>
    <div class="lane touch" onPointerDown=${(event) => press(event, true)}>
      <${Lane} height=${RULER} paint=${paint} label=${`${bars.filter((bar) => bar.bar > 0).length} bars`} />
      ${state.editing && html`<${BeatLines} />`}
    </div>
  </div>`;
}

function FormRow() {
  const { session, bars } = state;
  const sections = session.time.sections;
  const at = (section) => bars.find((bar) => bar.bar === section.bar)?.start ?? 0;
  return html`<div class="row form-row"><div class="head soft">Form</div><div class="lane">
    ${sections.map((section, i) => {
      const [start, end] = [at(section), sections[i + 1] ? at(sections[i + 1]) : session.seconds];
      const style = { left: `${start * view.perSecond}px`, width: `${Math.max(1, (end - start) * view.perSecond - 1)}px` };
      return html`<span class="part" style=${style}>${section.name}</span>`;
    })}
  </div></div>`;
}

function SongRow() {
  const { session, bars, region } = state;
  const isSong = Boolean(session.source.file);
  const file = session.source.file ?? session.click;
  const key = isSong ? "song" : "click";
  const muted = isSong ? state.quiet.has("song") : !clicks();
  const on = isSong ? audible("song", muted) : clicks();
  const paint = (pen, colors, height) => {
    drawRegion(pen, view, region, height, colors.region);
    drawGrid(pen, view, session.time, bars, height, colors);
    if (file) drawWave(pen, view, peaksOf(file, session.seconds), bufferOf(key, file), height, colors.song, on ? 0.9 : 0.35);
  };
  const name = isSong ? "Song" : "Metronome";
  return html`<div class="row song">
    <div class="head">
      <div class="line">
        <span class="swatch song"></span><strong class="name" title=${session.source.name ?? ""}>${name}</strong>
        <button type="button" class="toggle" aria-pressed=${String(muted)} aria-label=${`Mute ${name}`} title="Mute"
          onClick=${() => (isSong ? toggle("quiet", "song") : toggleClicks())}>M</button>
        ${isSong && html`<button type="button" class="toggle" aria-pressed=${String(state.solo.has("song"))} aria-label="Solo song" title="Solo"
          onClick=${() => toggle("solo", "song")}>S</button>`}
      </div>
      ${isSong && html`<${Gain} name="song" gain=${state.songGain} channel="song" onInput=${(gain) => set({ songGain: gain })} onGain=${(gain) => set({ songGain: gain })} />`}
    </div>
    <div class="lane" onPointerDown=${(event) => press(event, false)}>
      <${Lane} height=${72} paint=${paint} label=${`Waveform of the ${name.toLowerCase()}, ${clock(session.seconds)} long`} />
    </div>
  </div>`;
}

/** Do what may open or close the strip of a track above; the row of the event stays where it is on the screen. */
function held(event, what) {
  const row = event.target.closest(".row");
  const before = row?.getBoundingClientRect().top;
  what();
  if (narrow.matches) requestAnimationFrame(() => row?.isConnected && window.scrollBy(0, row.getBoundingClientRect().top - before));
}

/** Gain in dB, a double click for 0, with the level of the channel under it. */
function Gain({ name, gain, channel, disabled, onInput, onGain }) {
  const text = `${gain > 0 ? "+" : ""}${gain} dB`;
  return html`<label class="gain" title=${`Gain: ${text} (double click: 0)`}>
    <input type="range" min="-36" max="12" step="0.5" value=${gain} disabled=${disabled} aria-label=${`Gain of ${name}`} aria-valuetext=${text}
      onInput=${(event) => onInput(Number(event.target.value))} onChange=${(event) => onGain(Number(event.target.value))} onDblClick=${() => onGain(0)} />
    <${ChannelLevel} channel=${channel} />
  </label>`;
}

function ChannelLevel({ channel }) {
  const level = useRef();
  useEffect(() => onPicture(() => level.current && drawLevel(level.current, player.level(channel))), [channel]);
  return html`<span class="level" aria-hidden="true"><span ref=${level}></span></span>`;
}

function TrackRow({ track }) {
  const { session, bars, region } = state;
  const take = sounding(track);
  const key = `track ${track.name}`;
  const on = audible(track.name, track.mute);
  const selected = state.selected === track.name;
  const color = colorName(track.stem);
  const paint = (pen, colors, height) => {
    drawRegion(pen, view, region, height, colors.region);
    drawGrid(pen, view, session.time, bars, height, colors);
    if (state.listening?.track === track.name) return drawGrowing(pen, height, colors[color]);
    const notes = notesOf(take.notes, track.stem);
    const peaks = peaksOf(take.file, session.seconds);
    drawWave(pen, view, peaks, bufferOf(key, take.file), height, colors[color], (notes ? 0.3 : 0.9) * (on ? 1 : 0.5));
    pen.globalAlpha = 1;
    if (on) drawNotes(pen, view, notes, height, colors[color]);
  };
  const mix = (values) => step(key, { do: "mix", track: track.name, ...values });
  const gainNow = (gain) => player.mix(key, gain, track.pan, on);
  const select = (event) => held(event, () => set({ selected: track.name }));
  const drag = (event) => dragTrack(event, track);
  const kind = `row track ${selected ? "selected" : ""} ${on ? "" : "off"}`;
  return html`<section class=${kind} aria-label=${`Track ${track.name}`}>
    <div class="head">
      <div class="line">
        <span class=${`swatch grip ${color}`} title="Drag: another place in the list" onPointerDown=${drag}></span>
        <button type="button" class="name" aria-current=${String(selected)} title="Select: its takes, and what can be done" onClick=${select}>${track.name}</button>
        <button type="button" class="toggle" disabled=${track.lock} aria-pressed=${String(track.mute)} aria-label=${`Mute ${track.name}`} title="Mute (M): out of the mix, and of what is made next"
          onClick=${() => mix({ mute: !track.mute })}>M</button>
        <button type="button" class="toggle" aria-pressed=${String(state.solo.has(track.name))} aria-label=${`Solo ${track.name}`} title="Solo (S): for listening only"
          onClick=${() => toggle("solo", track.name)}>S</button>
      </div>
      <${Gain} name=${track.name} gain=${track.gain} channel=${key} disabled=${track.lock} onInput=${gainNow} onGain=${(gain) => mix({ gain })} />
      <${Chips} track=${track} />
    </div>
    <div class="lane" onPointerDown=${(event) => press(event, false, () => select(event))}>
      <${Lane} height=${96} paint=${paint} label=${`${take.notes ? "Notes and waveform" : "Waveform"} of ${track.name}, take ${take.number}`} />
    </div>
    <${Problem} at=${key} />
    ${selected && narrow.matches && html`<${TrackStrip} track=${track} take=${take} />`}
  </section>`;
}

/** Drag a track by its colour to another place; where it would go is marked. */
function dragTrack(event, track) {
  if (event.button !== 0) return;
  event.preventDefault();
  const grip = event.currentTarget;
  grip.setPointerCapture(event.pointerId);
  const rows = [...grip.closest(".content").querySelectorAll(".row.track")].slice(0, state.session.tracks.length);
  const from = state.session.tracks.indexOf(track);
  let to = from;
  const show = () => rows.forEach((row, i) => {
    row.classList.toggle("above", i === to && to < from);
    row.classList.toggle("below", i === to && to > from);
  });
  const move = ({ clientY }) => {
    const middles = rows.map((row) => (row.getBoundingClientRect().top + row.getBoundingClientRect().bottom) / 2);
    to = middles.filter((middle, i) => i !== from && middle < clientY).length;
    show();
  };
  const end = ({ type }) => {
    grip.removeEventListener("pointermove", move);
    grip.removeEventListener("pointerup", end);
    grip.removeEventListener("pointercancel", end);
    const by = type === "pointerup" ? to - from : 0;
    to = from;
    show();
    if (by) moveTrack(track, by);
  };
  grip.addEventListener("pointermove", move);
  grip.addEventListener("pointerup", end);
  grip.addEventListener("pointercancel", end);
}

/** Jobs whose take can be listened to while it is made, of a track; null: those that will be a new track. */
function making(track) {
  const jobs = [...state.jobs.values()].filter((job) => job.live && job.state === "running");
  return jobs.filter((job) => trackOf(job, state.session.tracks) === track);
}

function drawGrowing(pen, height, color) {
  const { sound } = state.listening;
  drawWave(pen, view, sound.peaks, sound, height, color, 0.9, sound.filled / sound.sampleRate);
}

/** A take that is being made: one click to listen to what there is of it, in the mix. */
function MakingChip({ job, number }) {
  const now = state.listening?.job === job.id && state.listening.number === job.live;
  const label = `Take ${number}, being made: listen to it`;
  return html`<button type="button" class="chip making" aria-pressed=${String(now)} aria-label=${label} title=${label}
    onClick=${(event) => held(event, () => (now ? stopListening() : listenTo(job)))}>${number} listen</button>`;
}

/** The first take of a track, while it is made. */
function MakingRow({ job }) {
  const { session, bars, region } = state;
  const name = job.stem ?? "stem";
  const color = colorName(name);
  const paint = (pen, colors, height) => {
    drawRegion(pen, view, region, height, colors.region);
    drawGrid(pen, view, session.time, bars, height, colors);
    if (state.listening?.job === job.id && state.listening.track === null) drawGrowing(pen, height, colors[color]);
  };
  return html`<section class="row track" aria-label=${`Being made: ${name}`}>
    <div class="head">
      <div class="line"><span class=${`swatch ${color}`}></span><span class="name">${name}</span><span class="soft">being made</span></div>
      <span class="gain"><${ChannelLevel} channel=${MADE} /></span>
      <div class="chips"><${MakingChip} job=${job} number=${1} /></div>
    </div>
    <div class="lane" onPointerDown=${(event) => press(event, false)}>
      <${Lane} height=${96} paint=${paint} label=${`Waveform of ${name}, as far as it is made`} />
    </div>
  </section>`;
}

/** The takes of a track: one click to listen to one in the mix. */
function Chips({ track }) {
  const now = sounding(track);
  return html`<div class="chips" role="group" aria-label=${`Takes of ${track.name}`}>
    ${track.takes.map((take) => {
      const kept = take.name === track.kept;
      const best = take.rank === 1 && track.takes.length > 1;
      const says = [`Take ${take.number}`, `seed ${take.seed}`, `rank ${take.rank} of ${track.takes.length}`, kept && "kept", take.regions.length && "bars redone"];
      const label = says.filter(Boolean).join(", ");
      return html`<button type="button" key=${take.name} class=${`chip ${kept ? "kept" : ""} ${best ? "best" : ""}`} aria-pressed=${String(take === now && state.listening?.track !== track.name)}
        aria-label=${label} title=${label} onClick=${(event) => held(event, () => audition(track, take.name))}>${take.number}</button>`;
    })}
    ${making(track).map((job) => html`<${MakingChip} key=${job.id} job=${job} number=${track.takes.length + 1} />`)}
  </div>`;
}

function Playhead() {
  const place = useRef();
  useEffect(() => {
    let last = -1;
    return onPicture(() => {
      const x = view.head + player.seconds * view.perSecond;
      if (!place.current || x === last) return;
      last = x;
      place.current.style.transform = `translateX(${x}px)`;
      if (player.playing) view.follow(player.seconds);
    });
  }, []);
  return html`<div class="playhead" ref=${place} aria-hidden="true"></div>`;
}
