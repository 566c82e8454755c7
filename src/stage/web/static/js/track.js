// What can be done with the selected track: its take, more takes, bars again, and its settings.

import { canMove, keep, moveTrack, remove } from "./keys.js";
import { Entry } from "./parts.js";
import { colorName } from "./pictures.js";
import { order, state, step } from "./store.js";
import { barAt, named } from "./time.js";
import { html } from "../vendor/preact.js";

export function TrackStrip({ track, take }) {
  const at = `track ${track.name}`;
  const job = (body) => order(at, { track: track.name, ...body });
  const kept = take.name === track.kept;
  const busy = state.busy[at];
  const { session } = state;
  const button = (label, tip, body) =>
    html`<button type="button" class="plain" title=${tip} disabled=${busy} onClick=${() => job(body)}>${label}</button>`;
  return html`<section class="strip-row" aria-label=${`Selected: ${track.name}`}><div class="strip">
    <div class="line take-line">
      <strong class="wide strip-name"><span class=${`swatch ${colorName(track.stem)}`}></span>${track.name}</strong>
      <${Figures} track=${track} take=${take} />
      ${!kept && !track.lock && html`<button type="button" class="main small" onClick=${() => keep(track)} title="Keep (K)">Keep take ${take.number}</button>`}
      ${kept && html`<span class="kept-mark">kept</span>`}
    </div>
    ${take.remarks.map((remark) => html`<p class="soft remark">${remark}</p>`)}
    ${track.lock
      ? html`<div class="line"><span class="soft">Locked: nothing of it changes.</span>
          <button type="button" class="plain" onClick=${() => step(at, { do: "mix", track: track.name, lock: false })}>Unlock</button></div>`
      : html`<div class="line">
            ${button("Another take", "A take with another seed", { do: "take", n: 1 })}
            ${session.time.times.length > 1 && button("More like it", "The kept take's first bars stay, what follows is new", { do: "like", n: 1 })}
            ${take.notes && button("Something else", "The take of four that is the least like those that are there", { do: "other", n: 1 })}
            <${Redo} track=${track} job=${job} busy=${busy} />
            <${Instrument} track=${track} job=${job} busy=${busy} />
          </div>
          <${More} track=${track} at=${at} />`}
  </div></section>`;
}

function percent(share) {
  return `${Math.round(share * 100)}\u00a0%`;
}

function Figures({ track, take }) {
  const { on_grid: grid, in_chord: chord, silent } = take.check;
  const parts = [
    `Take ${take.number} of ${track.takes.length}`,
    `seed ${take.seed}`,
    track.takes.length > 1 && `rank ${take.rank}`,
    take.instrument,
    take.prompt && `“${take.prompt}”`,
    grid !== undefined && `on the grid ${percent(grid)}`,
    chord !== undefined && `in the chords ${percent(chord)}`,
    silent > 0.5 && `silent ${percent(silent)}`,
    take.regions.length > 0 && `redone: ${take.regions.map(([start, end]) => barsIn(start, end)).join(", ")}`,
  ];
  return html`<span class="figures" title="By a quick check: it shows what is likely wrong, not what is good">${parts.filter(Boolean).join(" · ")}</span>`;
}

function barsIn(start, end) {
  const bars = state.bars;
  if (!bars.length) return `${start.toFixed(1)} to ${end.toFixed(1)} s`;
  return named({ first: barAt(bars, start + 0.02).bar, last: barAt(bars, end - 0.02).bar });
}

function Redo({ track, job, busy }) {
  const { region } = state;
  if (!region) return html`<span class="soft">Drag over bars to play them again.</span>`;
  const where = region.first !== undefined && region.first > 0 ? { bars: [[region.first, region.last]] } : { seconds: [[region.start, region.end]] };
  const kept = track.takes.find((one) => one.name === track.kept).number;
  return html`<button type="button" class="plain accent" disabled=${busy} title=${`Play them anew in take ${kept}; all else of it stays, to the sample`}
    onClick=${() => job({ do: "redo", ...where })}>Redo ${named(region)}</button>`;
}

/** What plays the notes of the kept take; another one makes a take of the same notes. */
function Instrument({ track, job, busy }) {
  const kept = track.takes.find((one) => one.name === track.kept);
  const names = state.models.map((model) => model.instruments[track.stem]).find((list) => list?.length) ?? [];
  if (!kept.notes || !names.length) return null;
  const all = names.includes(kept.instrument) ? names : [kept.instrument, ...names];
  const choose = (event) => {
    const instrument = event.target.value;
    event.target.value = kept.instrument; // until it is there
    job({ do: "sound", instrument });
  };
  return html`<label class="line nowrap" title="The same notes on another one, as a new take">${track.stem === "drums" ? "Kit" : "Instrument"}
    <select value=${kept.instrument} disabled=${busy} aria-label=${`${track.stem === "drums" ? "Kit" : "Instrument"} of ${track.name}`} onChange=${choose}>
      ${all.map((name) => html`<option value=${name} selected=${name === kept.instrument}>${name}</option>`)}</select></label>`;
}

function More({ track, at }) {
  const pan = track.pan === 0 ? "middle" : `${Math.round(Math.abs(track.pan) * 100)} % ${track.pan < 0 ? "left" : "right"}`;
  const mix = (values) => step(at, { do: "mix", track: track.name, ...values });
  return html`<details class="more"><summary>Name, place, pan, lock, remove</summary>
    <div class="line">
      <label>Name <${Entry} value=${track.name} label=${`Name of the track ${track.name}`} maxlength="60"
        onValue=${(name) => name && step(at, { do: "rename", track: track.name, name })} /></label>
      <label title=${`${pan} (double click: middle)`}>Pan <input type="range" min="-1" max="1" step="0.05" value=${track.pan} aria-valuetext=${pan}
        onChange=${(event) => mix({ pan: Number(event.target.value) })} onDblClick=${() => mix({ pan: 0 })} /></label>
      <button type="button" class="plain" disabled=${!canMove(track, -1)} title="Above the track before it (Alt + ↑)" onClick=${() => moveTrack(track, -1)}>Up</button>
      <button type="button" class="plain" disabled=${!canMove(track, 1)} title="Below the track after it (Alt + ↓)" onClick=${() => moveTrack(track, 1)}>Down</button>
      <button type="button" class="plain" title="Nothing of it can be changed then" onClick=${() => mix({ lock: true })}>Lock</button>
      <button type="button" class="plain" title="Delete; undo brings it back" onClick=${() => remove(track)}>Remove</button>
    </div>
  </details>`;
}
