// The first screen: a song that is dropped, chosen, or recorded; the demo song; a tempo or chords; what was begun before.

import * as api from "./api.js";
import { Icon, Problem } from "./parts.js";
import { Recorder } from "./record.js";
import { doing, fail, set, state } from "./store.js";
import { clock } from "./time.js";
import { html, useEffect, useRef, useState } from "../vendor/preact.js";

const MODEL = "stage-model";

/** The model that new sessions play with, as it was last chosen here; null: the server's default. */
export function chosenModel() {
  const name = localStorage.getItem(MODEL);
  return state.models.some((model) => model.name === name) ? name : null;
}

export function chooseModel(name) {
  localStorage.setItem(MODEL, name);
}

async function begin(given) {
  const session = await api.send("POST", "/api/sessions", { ...given, model: chosenModel() });
  location.hash = `#s/${session.id}`;
}

async function bring(blob, name) {
  const song = await api.upload(name, blob);
  await begin({ song: song.id, name: name.replace(/\.[^.]+$/, "") });
}

export function StartPage() {
  const [demos, setDemos] = useState([]);
  const [sessions, setSessions] = useState([]);
  const [over, setOver] = useState(false);
  const [way, setWay] = useState(null);
  const chooser = useRef();
  const load = () => api.get("/api/sessions").then(setSessions, (error) => fail("start", error));
  useEffect(() => {
    load();
    api.get("/api/demos").then(setDemos, () => {});
  }, []);
  const busy = state.busy.start;
  const song = (file) => file && doing("start", () => bring(file, file.name));
  const drop = (event) => {
    event.preventDefault();
    setOver(false);
    const files = [...event.dataTransfer.files];
    if (files.length > 1) fail("start", "One song at a time, please: drop a single file");
    else song(files[0]);
  };
  const dragged = (event) => {
    event.preventDefault();
    setOver(true);
  };
  const toggleWay = (name) => setWay(way === name ? null : name);
  return html`
    <header class="bar top">
      <span class="brand"><img src="/static/icon.svg" alt="" width="24" height="24" /> STAGE</span>
      <span class="grow"></span>
      <${ModelButton} model=${chosenModel()} />
    </header>
    <main class="start" onDragOver=${dragged} onDragLeave=${() => setOver(false)} onDrop=${drop}>
      <h1>Bring a song. Add drums, bass, keys.</h1>
      <div class=${`drop ${over ? "over" : ""}`}>
        <p class="big">${busy ? "One moment…" : "Drop a song here"}</p>
        <p class="soft">WAV, FLAC, MP3, M4A, a video: up to ten minutes</p>
        <button type="button" class="main" disabled=${busy} onClick=${() => chooser.current.click()}>Choose a file</button>
        <input ref=${chooser} type="file" class="unseen" tabindex="-1" aria-label="Song file" accept="audio/*,video/*"
          onChange=${(event) => (song(event.target.files[0]), (event.target.value = ""))} />
      </div>
      <${Problem} at="start" />
      <div class="ways">
        ${demos.map(
          (demo) => html`<button type="button" key=${demo.id} class="way" disabled=${busy}
            onClick=${() => doing("start", () => begin({ demo: demo.id, name: demo.title }))}>
            <strong>Demo song</strong><span class="soft">${demo.title}, ${clock(demo.seconds)}</span></button>`,
        )}
        <button type="button" class="way" aria-expanded=${String(way === "tempo")} onClick=${() => toggleWay("tempo")}>
          <strong>Tempo or chords</strong><span class="soft">No song yet: play to a metronome</span></button>
        <button type="button" class="way" aria-expanded=${String(way === "record")} onClick=${() => toggleWay("record")}>
          <strong>Record</strong><span class="soft">From a microphone or an instrument</span></button>
      </div>
      ${way === "tempo" && html`<${Tempo} busy=${busy} />`}
      ${way === "record" && html`<${Recorder} busy=${busy} onDone=${(blob, name) => doing("start", () => bring(blob, name))} />`}
      ${sessions.length > 0 && html`<${Sessions} sessions=${sessions} load=${load} />`}
    </main>
  `;
}

export function ModelButton({ model }) {
  const found = state.models.find((one) => one.name === model) ?? state.models.find((one) => one.default);
  if (!found) return null;
  return html`<button type="button" class="plain" onClick=${() => set({ dialog: "model" })}
    aria-label=${`Model: ${found.title}. Choose another`}>
    ${found.title} <span class="soft">${found.precision}</span></button>`;
}

function Tempo({ busy }) {
  const submit = (event) => {
    event.preventDefault();
    const given = new FormData(event.target);
    const chords = given.get("chords").trim();
    const bpm = Number(given.get("bpm"));
    const name = chords ? `${chords.slice(0, 40)}, ${bpm} BPM` : `${bpm} BPM`;
    const values = { bpm, meter: given.get("meter"), bars: Number(given.get("bars")), chords: chords || null, name };
    doing("start", () => begin(values));
  };
  return html`<form class="card form" onSubmit=${submit}>
    <label>Tempo <input name="bpm" type="number" min="30" max="300" step="any" defaultValue="100" required /> <span class="soft">BPM</span></label>
    <label>Metre <select name="meter">${["4/4", "3/4", "6/8", "2/4", "5/4", "7/8", "12/8"].map((m) => html`<option value=${m}>${m}</option>`)}</select></label>
    <label>Bars <input name="bars" type="number" min="1" max="400" defaultValue="8" required /></label>
    <label class="grow">Chords, one a bar <input name="chords" type="text" placeholder="Am F C G, or none" autocomplete="off" /></label>
    <button type="submit" class="main" disabled=${busy}>Begin</button>
  </form>`;
}

function Sessions({ sessions, load }) {
  const drop = (session) =>
    confirm(`Delete "${session.name}" and all its takes? This cannot be undone.`) &&
    doing("start", () => api.send("DELETE", `/api/sessions/${session.id}`).then(load));
  return html`<section class="sessions" aria-labelledby="before"><h2 id="before">Begun before</h2><ul>
    ${sessions.map(
      (session) => html`<li key=${session.id}>
        <a href=${`#s/${session.id}`}>${session.name}</a>
        <span class="soft">${clock(session.seconds ?? 0)}, ${session.tracks === 1 ? "1 track" : `${session.tracks} tracks`}, ${day(session.changed)}</span>
        <button type="button" class="icon-button" aria-label=${`Delete ${session.name}`} title="Delete" onClick=${() => drop(session)}>
          <${Icon} name="trash" /></button></li>`,
    )}
  </ul></section>`;
}

function day(iso) {
  const date = new Date(iso);
  const today = date.toDateString() === new Date().toDateString();
  return today
    ? date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })
    : date.toLocaleDateString([], { day: "numeric", month: "short" });
}
