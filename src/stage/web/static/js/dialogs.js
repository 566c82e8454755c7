// What opens over the page: export, the model, the keys, and the token of a server elsewhere.

import * as api from "./api.js";
import { JobLine } from "./jobs.js";
import { KEYS } from "./keys.js";
import { IconButton, Problem } from "./parts.js";
import { chosenModel, chooseModel } from "./start.js";
import { doing, order, refresh, set, state } from "./store.js";
import { html, useEffect, useRef, useState } from "../vendor/preact.js";

let answerToken = null;

export function askToken(wrong) {
  if (answerToken) return new Promise((resolve) => (answerToken.others.push(resolve)));
  return new Promise((resolve) => {
    answerToken = { resolve, others: [], wrong };
    set({ dialog: "token" });
  });
}

function giveToken(token) {
  const asked = answerToken;
  answerToken = null;
  set({ dialog: null });
  for (const resolve of [asked.resolve, ...asked.others]) resolve(token);
}

export function Dialogs() {
  // a dialog reports that it was closed some time later, when another one may be open
  const name = state.dialog;
  const close = () => state.dialog === name && set({ dialog: null });
  if (name === "export" && state.session) return html`<${Export} close=${close} />`;
  if (name === "model") return html`<${Models} close=${close} />`;
  if (name === "help") return html`<${Help} close=${close} />`;
  if (name === "token") return html`<${Token} />`;
  return null;
}

function Dialog({ title, close, children }) {
  const place = useRef();
  useEffect(() => {
    const before = document.activeElement;
    place.current.showModal();
    return () => before?.isConnected && before.focus();
  }, []);
  const outside = (event) => event.target === place.current && close();
  return html`<dialog ref=${place} aria-labelledby="dialog-title" onClose=${close} onClick=${outside}>
    <div class="inside"><header class="line spread"><h2 id="dialog-title">${title}</h2><${IconButton} icon="close" label="Close" onClick=${close} /></header>${children}</div>
  </dialog>`;
}

const FORMATS = [
  ["wav", "Stems and mix as WAV", "24 bits, all from the song's first sample"],
  ["midi", "MIDI", "the arrangement and each track, with tempo and markers"],
  ["dawproject", "DAWproject", "Bitwig Studio, Studio One, Cubase"],
  ["reaper", "REAPER project", "with the WAV files beside it"],
];

function Export({ close }) {
  const [formats, setFormats] = useState(["wav", "midi"]);
  const job = [...state.jobs.values()].find((one) => one.do === "export");
  const running = job && job.state !== "failed";
  const flip = (name) => setFormats(formats.includes(name) ? formats.filter((one) => one !== name) : [...formats, name]);
  const submit = (event) => {
    event.preventDefault();
    set({ exported: null });
    order("export", { do: "export", formats });
  };
  const empty = state.session.tracks.length === 0;
  return html`<${Dialog} title="Export" close=${close}>
    ${empty
      ? html`<p>There is nothing to export yet: add a stem first.</p>`
      : html`<form onSubmit=${submit}>
          ${FORMATS.map(
            ([name, title, says]) => html`<label class="check"><input type="checkbox" checked=${formats.includes(name)} disabled=${running} onChange=${() => flip(name)} />
              <span>${title}<br /><span class="soft">${says}</span></span></label>`,
          )}
          ${job && html`<ul class="jobs"><${JobLine} job=${job} /></ul>`}
          <${Problem} at="export" />
          <div class="line">
            <button type="submit" class=${state.exported ? "plain" : "main"} disabled=${running || state.busy.export || !formats.length}>Export</button>
            ${state.exported && html`<button type="button" class="main" onClick=${() => doing("export", () => api.download(state.exported.file, `${state.session.name}.zip`))}>Download</button>
              <span class="soft" role="status">Ready, as the arrangement is now.</span>`}
          </div>
        </form>`}
  </${Dialog}>`;
}

function Models({ close }) {
  const { session } = state;
  const now = session ? session.model : chosenModel() ?? state.models.find((model) => model.default)?.name;
  const choose = (name) => {
    if (!session) {
      chooseModel(name);
      return set({});
    }
    return doing("model", () => api.send("PATCH", `/api/sessions/${session.id}`, { model: name }).then(refresh));
  };
  return html`<${Dialog} title="Model" close=${close}>
    <p class="soft">${session ? "What plays the takes that are made from now on." : "What plays in sessions that you begin from now on."}</p>
    <fieldset class="models"><legend class="unseen">Model</legend>
    ${state.models.map(
      (model) => html`<label class="check" key=${model.name}><input type="radio" name="model" checked=${model.name === now} disabled=${state.busy.model} onChange=${() => choose(model.name)} />
        <span><strong>${model.title}</strong><br /><span class="soft">${model.stems.join(", ")}<br />
          ${model.kind === "events" ? "plays notes on sampled instruments" : "draws sound itself"}, precision ${model.precision}<br />Licence: ${model.licence}</span></span></label>`,
    )}</fieldset>
    <${Problem} at="model" />
  </${Dialog}>`;
}

function Help({ close }) {
  return html`<${Dialog} title="Keys" close=${close}><table class="keys"><tbody>
    ${KEYS.map(([keys, what]) => html`<tr><th scope="row"><kbd>${keys}</kbd></th><td>${what}</td></tr>`)}
  </tbody></table></${Dialog}>`;
}

function Token() {
  const wrong = answerToken?.wrong;
  const submit = (event) => {
    event.preventDefault();
    giveToken(event.target.elements.token.value.trim());
  };
  return html`<${Dialog} title="Token" close=${() => answerToken && giveToken(null)}><form onSubmit=${submit}>
    <p>This server asks for its token: it was printed when it was started.</p>
    ${wrong && html`<p class="problem" role="alert">That token is not the server's.</p>`}
    <label class="field">Token <input name="token" type="password" required autocomplete="off" /></label>
    <button type="submit" class="main">Go on</button>
  </form></${Dialog}>`;
}
