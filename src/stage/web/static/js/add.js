// Add a stem: an instrument, one line of style, a pad of two axes; the rest folded away. Every stem has settings of its
// own, and only those that are of use to it are sent.

import { Icon, Problem } from "./parts.js";
import { colorName } from "./pictures.js";
import { ModelButton } from "./start.js";
import { changed, order, state } from "./store.js";
import { html, useRef } from "../vendor/preact.js";

const PLACEHOLDERS = {
  drums: "sparse, slow ballad, brushes",
  bass: "walking, upright",
  keys: "rhodes, soft chords",
  guitar: "muted funk",
  pads: "warm, slow",
};
const EMPTY = { prompt: "", complexity: null, dynamics: null, takes: 3, seed: "", locked: false, instrument: "", fills: "", swing: 0, tight: 0, humanize: 0, push: 0, feel: "", here: false };

const settings = new Map(); // of the open session, by stem
let owner = null;
let chosen = null;

function of(stem) {
  if (owner !== state.id) {
    owner = state.id;
    settings.clear();
    chosen = null;
    const saved = JSON.parse(sessionStorage.getItem(`add ${owner}`) ?? "{}");
    for (const [name, values] of Object.entries(saved)) settings.set(name, { ...EMPTY, ...values });
  }
  return settings.get(stem) ?? EMPTY;
}

function put(stem, values) {
  settings.set(stem, { ...of(stem), ...values });
  sessionStorage.setItem(`add ${owner}`, JSON.stringify(Object.fromEntries(settings)));
  changed();
}

/** What is sent for a stem. */
function body(stem, given, events) {
  const performance = {};
  if (events) {
    for (const name of ["complexity", "dynamics"]) if (given[name] !== null) performance[name] = given[name];
    for (const name of ["swing", "tight", "humanize", "push"]) if (given[name]) performance[name] = given[name];
    if (given.feel) performance[given.feel] = true;
    if (given.instrument) performance[stem === "drums" ? "kit" : "instrument"] = given.instrument;
    if (stem === "drums" && given.fills) performance.fills = Number(given.fills);
    if (given.here && state.region?.first > 0) Object.assign(performance, { from_bar: state.region.first, to_bar: state.region.last });
  }
  return { do: "add", stem, prompt: given.prompt.trim(), takes: given.takes, seed: given.seed === "" ? null : Number(given.seed), performance };
}

export function AddPanel() {
  of("");
  const { session } = state;
  const model = state.models.find((one) => one.name === session.model) ?? state.models.find((one) => one.default);
  const stems = model?.stems ?? [];
  if (!stems.includes(chosen)) chosen = stems.find((stem) => !session.tracks.some((track) => track.stem === stem)) ?? stems[0];
  const stem = chosen;
  if (!stem) return html`<aside class="add"><h2>Add a stem</h2><${Problem} at="add" /></aside>`;
  const given = of(stem);
  const events = model.kind === "events";
  const choose = (name) => {
    chosen = name;
    changed();
  };
  const add = async (event) => {
    event.preventDefault();
    const made = await order("add", body(stem, given, events));
    if (made && !given.locked && given.seed !== "") put(stem, { seed: "" });
  };
  const band = ["drums", "bass", "keys"].filter((name) => stems.includes(name) && !session.tracks.some((track) => track.stem === name));
  return html`<aside class="add" aria-labelledby="add-title"><form onSubmit=${add}>
    <h2 id="add-title">Add a stem</h2>
    <div class="stems" role="radiogroup" aria-label="Instrument">
      ${stems.map(
        (name) => html`<label class="stem" key=${name}><input type="radio" name="stem" value=${name} checked=${name === stem} onChange=${() => choose(name)} />
          <span><span class=${`swatch ${colorName(name)}`}></span>${name}</span></label>`,
      )}
    </div>
    <label class="field">Style
      <input type="text" value=${given.prompt} placeholder=${PLACEHOLDERS[stem] ?? "in a few words"} autocomplete="off" maxlength="500" onInput=${(event) => put(stem, { prompt: event.target.value })} /></label>
    ${events && html`<${Pad} stem=${stem} given=${given} />`}
    <details class="more"><summary>More</summary>
      <div class="grid">
        <label class="field">Takes <input type="number" min="1" max="8" value=${given.takes} required onInput=${(event) => put(stem, { takes: Number(event.target.value) })} /></label>
        <label class="field">Seed <span class="line nowrap"><input type="number" min="0" max="4294967295" value=${given.seed} placeholder="any" onInput=${(event) => put(stem, { seed: event.target.value })} />
          <button type="button" class="icon-button" aria-pressed=${String(given.locked)} aria-label="Lock the seed" title="Lock: the next stem begins with this seed too"
            onClick=${() => put(stem, { locked: !given.locked })}><${Icon} name=${given.locked ? "lock" : "unlock"} /></button></span></label>
        ${events && html`<${Details} stem=${stem} given=${given} instruments=${model.instruments?.[stem] ?? []} />`}
      </div>
    </details>
    <button type="submit" class="main full" disabled=${state.busy.add}>Play ${stem}</button>
    <${Problem} at="add" />
    <p class="line spread soft">Played by <${ModelButton} model=${session.model} /></p>
    ${band.length > 1 && html`<button type="button" class="plain full" disabled=${state.busy.add}
      title="One after the other; each is played to the song and to those before it" onClick=${() => order("add", { do: "band", stems: band, prompt: given.prompt.trim() })}>
      Or a band: ${band.join(", ")}</button>`}
  </form></aside>`;
}

function Details({ stem, given, instruments }) {
  const drums = stem === "drums";
  const slider = (name, label, low, high, min = 0, max = 1, step = 0.05) => html`<label class="field">${label}
    <input type="range" min=${min} max=${max} step=${step} value=${given[name]} title=${`${low} to ${high}`} aria-valuetext=${String(given[name])} onInput=${(event) => put(stem, { [name]: Number(event.target.value) })} /></label>`;
  const region = state.region?.first > 0 ? state.region : null;
  return html`
    ${instruments.length > 0 && html`<label class="field both">${drums ? "Kit" : "Instrument"}
      <select value=${given.instrument} onChange=${(event) => put(stem, { instrument: event.target.value })}>
        <option value="">as the model plays it</option>${instruments.map((name) => html`<option value=${name}>${name}</option>`)}</select></label>`}
    ${drums && html`<label class="field">Fill every <span class="line nowrap"><input type="number" min="1" max="64" value=${given.fills} placeholder="as it comes" onInput=${(event) => put(stem, { fills: event.target.value })} /> <span class="soft">bars</span></span></label>`}
    <label class="field">Feel <select value=${given.feel} onChange=${(event) => put(stem, { feel: event.target.value })}>
      <option value="">as it is</option><option value="half_time">half time</option><option value="double_time">double time</option></select></label>
    ${slider("swing", "Swing", "as it is", "triplets")} ${slider("tight", "Tight", "as played", "on the grid")}
    ${slider("humanize", "Loose", "as it is", "loose")} ${slider("push", "Push", "behind the beat", "before it", -50, 50, 5)}
    ${region && html`<label class="check both"><input type="checkbox" checked=${given.here} onChange=${(event) => put(stem, { here: event.target.checked })} />
      Play in bars ${region.first} to ${region.last} only</label>`}
    <button type="button" class="plain both" onClick=${() => put(stem, EMPTY)}>Reset</button>
  `;
}

/** Two axes in place of ten sliders: left to right how much, bottom to top how loud. Nothing is sent until it is used. */
function Pad({ stem, given }) {
  const place = useRef();
  const { complexity, dynamics } = given;
  const free = complexity === null && dynamics === null;
  const round = (value) => Math.round(Math.max(0, Math.min(1, value)) * 100) / 100;
  const at = (event) => {
    const box = place.current.getBoundingClientRect();
    put(stem, { complexity: round((event.clientX - box.left) / box.width), dynamics: round(1 - (event.clientY - box.top) / box.height) });
  };
  const down = (event) => {
    place.current.setPointerCapture(event.pointerId);
    at(event);
  };
  const move = (event) => event.buttons && place.current.hasPointerCapture(event.pointerId) && at(event);
  const key = (event) => {
    const by = { ArrowLeft: [-0.05, 0], ArrowRight: [0.05, 0], ArrowUp: [0, 0.05], ArrowDown: [0, -0.05] }[event.key];
    if (!by) return;
    event.preventDefault();
    put(stem, { complexity: round((complexity ?? 0.5) + by[0]), dynamics: round((dynamics ?? 0.5) + by[1]) });
  };
  const word = (value, low, high) => (value === null ? "as the model plays it" : `${Math.round(value * 100)} %, ${value < 0.34 ? low : value > 0.66 ? high : "in between"}`);
  const axis = (name, value, low, high) => html`<input type="range" class="unseen" min="0" max="1" step="0.05" value=${value ?? 0.5} aria-label=${name}
    aria-valuetext=${word(value, low, high)} onKeyDown=${key} onInput=${(event) => put(stem, { [name.toLowerCase()]: Number(event.target.value) })} />`;
  return html`<div class="field"><span class="line spread"><span>Playing</span>
      ${free ? html`<span class="soft">as the model plays it</span>` : html`<button type="button" class="link" onClick=${() => put(stem, { complexity: null, dynamics: null })}>as the model plays it</button>`}</span>
    <div class=${`pad ${free ? "free" : ""}`} ref=${place} onPointerDown=${down} onPointerMove=${move} title="Left to right: sparse to busy. Bottom to top: soft to loud">
      ${axis("Complexity", complexity, "sparse", "busy")} ${axis("Dynamics", dynamics, "soft", "loud")}
      <span class="axis top" aria-hidden="true">loud</span><span class="axis bottom" aria-hidden="true">soft</span>
      <span class="axis left" aria-hidden="true">sparse</span><span class="axis right" aria-hidden="true">busy</span>
      <span class="thumb" style=${{ left: `${(complexity ?? 0.5) * 100}%`, bottom: `${(dynamics ?? 0.5) * 100}%` }}></span>
    </div></div>`;
}
