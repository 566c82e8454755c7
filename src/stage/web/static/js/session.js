// The page of a session: what is above the time line, the time line, what is made, and what can be added.

import * as api from "./api.js";
import { AddPanel } from "./add.js";
import { EditBar } from "./beats.js";
import { JobList, PreparingJob } from "./jobs.js";
import { togglePlay, toggleLoop, mark } from "./keys.js";
import { narrow, TimeLine } from "./lanes.js";
import { Entry, Icon, IconButton, Problem } from "./parts.js";
import { drawLevel, onPicture } from "./pictures.js";
import { clicks, doing, player, refresh, set, sounding, state, step, toggleClicks, view } from "./store.js";
import { barAt, clock, named } from "./time.js";
import { TrackStrip } from "./track.js";
import { html, useEffect, useRef } from "../vendor/preact.js";

const SLOW = 70; // BPM below which a song has more likely been found at half of its tempo

export function SessionPage() {
  const session = state.session;
  const name = session?.name;
  useEffect(() => {
    if (name) document.title = `${name} · STAGE`;
  }, [name]);
  if (!session)
    return html`<${TopBar} /><main class="waiting">${state.errors.session
      ? html`<${Problem} at="session" /><a class="main" href="#">Begin with another song</a>`
      : html`<p class="soft">Opening…</p>`}</main>`;
  const track = session.tracks.find((one) => one.name === state.selected);
  if (session.state !== "ready") return html`<${TopBar} /><${PreparingJob} />`;
  return html`
    <${TopBar} />
    <${Transport} />
    ${!state.live && html`<p class="problem strip" role="status">No connection to the server; what you see is what it sent last. Trying again…</p>`}
    ${state.editing && html`<${EditBar} />`}
    <main class="work">
      <div class="column">
        <${TimeLine} />
        ${!narrow.matches && track && html`<${TrackStrip} track=${track} take=${sounding(track)} />`}
        <${JobList} />
      </div>
      <${AddPanel} />
    </main>
  `;
}

function TopBar() {
  const session = state.session;
  const ready = session?.state === "ready";
  const rename = (name) => name && doing("history", () => api.send("PATCH", `/api/sessions/${session.id}`, { name }).then(refresh));
  return html`<header class="bar top">
    <h1 class="unseen">${session?.name ?? "STAGE"}</h1>
    <a class="brand" href="#" aria-label="STAGE, all songs"><img src="/static/icon.svg" alt="" width="24" height="24" /></a>
    ${session ? html`<${Entry} class="title" label="Name of the session" value=${session.name} onValue=${rename} maxlength="120" />` : html`<span class="grow"></span>`}
    ${ready &&
    html`<${IconButton} icon="undo" label=${session.undo ? `Undo: ${session.undo}` : "Nothing to undo"} tip=${session.undo ? `Undo: ${session.undo} (Ctrl+Z)` : "Nothing to undo"}
        disabled=${!session.undo} onClick=${() => step("history", { do: "undo" })} />
      <${IconButton} icon="redo" label=${session.again ? `Redo: ${session.again}` : "Nothing to redo"} tip=${session.again ? `Redo: ${session.again} (Ctrl+Shift+Z)` : "Nothing to redo"}
        disabled=${!session.again} onClick=${() => step("history", { do: "again" })} />
      <button type="button" class="plain" onClick=${() => set({ dialog: "export" })}>Export</button>
      <button type="button" class="plain wide" aria-label="Help: keys" title="Keys (?)" onClick=${() => set({ dialog: "help" })}>?</button>`}
    <${Problem} at="history" />
  </header>`;
}

function Transport() {
  const { session, region, bars } = state;
  const bpm = session.time.bpm;
  const slow = bpm && bpm < SLOW && session.source.file && !session.tracks.length;
  return html`<section class="bar transport" aria-label="Playback">
    <${IconButton} class="wide" icon="start" label="To the beginning" tip="To the beginning (Home)" onClick=${() => (player.seek(0), view.follow(0))} />
    <${IconButton} class="play" icon=${player.playing ? "pause" : "play"} label=${player.playing ? "Pause" : "Play"}
      tip=${player.playing ? "Pause (space)" : "Play (space)"} onClick=${togglePlay} />
    <${IconButton} icon="loop" label="Loop" tip="Loop the marked bars (L)" pressed=${state.looping} disabled=${!bars.length} onClick=${toggleLoop} />
    ${session.click && html`<${IconButton} icon="click" label="Metronome" pressed=${clicks()} onClick=${toggleClicks} />`}
    <${Clock} />
    <span class=${slow ? "soft" : "wide soft"}>${bpm ? `${Math.round(bpm * 10) / 10} BPM` : "no beats found"}</span>
    ${slow && html`<button type="button" class="plain" title="Found at half of the song's tempo? Double the beats" onClick=${() => step("beats", { do: "beats", change: "double" })}>Double it?</button>`}
    <${Region} region=${region} bars=${bars} />
    <span class="grow"></span>
    <button type="button" class="plain" aria-pressed=${String(state.editing)} onClick=${() => set({ editing: !state.editing })}>Beats<span class="wide"> and chords</span></button>
    <span class="zoom">
      <${IconButton} icon="minus" label="Zoom out" tip="Zoom out (-)" onClick=${() => view.zoom(1 / 1.5)} />
      <button type="button" class="plain wide" title="The whole song (0)" onClick=${() => view.fit()}>Fit</button>
      <${IconButton} icon="plus" label="Zoom in" tip="Zoom in (+)" onClick=${() => view.zoom(1.5)} />
    </span>
    <${MasterMeter} />
    <${Problem} at="play" />
  </section>`;
}

/** Bar, beat and time, written with each picture. */
function Clock() {
  const place = useRef();
  useEffect(
    () =>
      onPicture(() => {
        const at = player.seconds;
        const bar = state.bars.length ? barAt(state.bars, at) : null;
        const texts = [bar ? `Bar ${bar.bar} · ` : "", clock(at, true)];
        texts.forEach((text, i) => {
          const part = place.current?.children[i];
          if (part && part.textContent !== text) part.textContent = text;
        });
      }),
    [],
  );
  return html`<output class="time" ref=${place} aria-label="Bar and time" aria-live="off" title="Bar and time"><span class="wide"></span><span></span></output>`;
}

function MasterMeter() {
  const place = useRef();
  useEffect(
    () => onPicture(() => place.current && drawLevel(place.current, player.level())),
    [],
  );
  return html`<span class="level wide" title="Level of the sum" role="img" aria-label="Level of the sum"><span ref=${place}></span></span>`;
}

/** The marked bars as numbers: what dragging over bars does, for the keyboard. */
function Region({ region, bars }) {
  if (!region || !bars.length) return null;
  const change = (name) => (text) => {
    const bar = bars.find((one) => one.bar === Number(text));
    if (!bar) return;
    const other = bars.find((one) => one.bar === (name === "first" ? region.last : region.first));
    const inOrder = name === "first" ? bar.start <= other.start : bar.start >= other.start;
    mark(bar, inOrder ? other : bar);
  };
  const list = (name) => html`<${Entry} type="number" class="bar-number" label=${name === "first" ? "From bar" : "To bar"}
    min=${bars[0].bar} max=${bars[bars.length - 1].bar} value=${region[name]} onValue=${change(name)} />`;
  return html`<span class="region-fields" role="group" aria-label=${`Marked: ${named(region)}`}>
    <span class="soft">Bars</span> ${list("first")}<span class="soft">to</span>${list("last")}
    <button type="button" class="icon-button" aria-label="Unmark" title="Unmark (Esc)" onClick=${() => set({ region: null, looping: false })}><${Icon} name="close" /></button>
  </span>`;
}
