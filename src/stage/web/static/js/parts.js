// Small parts that the whole page uses.

import { state } from "./store.js";
import { html, useRef, useState } from "../vendor/preact.js";

/** The error of a place, one line. */
export function Problem({ at }) {
  const text = state.errors[at];
  return text ? html`<p class="problem" role="alert">${text}</p>` : null;
}

const ICONS = {
  play: "M7 4.5v15l12-7.5z",
  pause: "M6.5 5h4v14h-4zM13.5 5h4v14h-4z",
  start: "M6 5h2.5v14H6zM19 5v14L9.5 12z",
  loop: "M17 3l4 4-4 4V8H8a3 3 0 0 0-3 3v1H3v-1a5 5 0 0 1 5-5h9zM7 21l-4-4 4-4v3h9a3 3 0 0 0 3-3v-1h2v1a5 5 0 0 1-5 5H7z",
  undo: "M9 5L3.5 10.5 9 16v-4h5.5a3.5 3.5 0 0 1 0 7H9v2h5.5a5.5 5.5 0 0 0 0-11H9z",
  redo: "M15 5l5.5 5.5L15 16v-4H9.500a3.500 3.500 0 0 0 0 7H15v2H9.500a5.500 5.500 0 0 1 0-11H15z",
  plus: "M11 5h2v6h6v2h-6v6h-2v-6H5v-2h6z",
  minus: "M5 11h14v2H5z",
  left: "M15 5l-7 7 7 7z",
  right: "M9 5l7 7-7 7z",
  close: "M6.400 5L12 10.600 17.600 5 19 6.400 13.400 12l5.600 5.600-1.400 1.400-5.600-5.600L6.400 19 5 17.600l5.600-5.600L5 6.400z",
  lock: "M7 10V8a5 5 0 0 1 10 0v2h1.500v10h-13V10zm2 0h6V8a3 3 0 0 0-6 0z",
  unlock: "M9 10h9.500v10h-13V10H7V8a5 5 0 0 1 9.700-1.700l-1.900.6A3 3 0 0 0 9 8z",
  trash: "M9 3h6l1 2h4v2H4V5h4zM6 9h12l-1 12H7z",
  click: "M9.500 4h5L18 20H6zM11.200 14h1.600l-.4-6h-.8z",
};

export function Icon({ name }) {
  return html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false"><path d=${ICONS[name]} /></svg>`;
}

/** A button with a picture: its label is spoken and shown as a tip. */
export function IconButton({ icon, label, tip, pressed, class: kind = "", ...rest }) {
  const state = pressed === undefined ? {} : { "aria-pressed": String(pressed) };
  return html`<button type="button" class=${`icon-button ${kind}`} aria-label=${label} title=${tip ?? label} ...${state} ...${rest}>
    <${Icon} name=${icon} />
  </button>`;
}

export function Progress({ share, label }) {
  const known = share > 0;
  return html`<progress class="progress" max="1" value=${known ? share : undefined} aria-label=${label}></progress>`;
}

/** A field that is sent when it is left or by Enter; Escape takes back what was typed. What is being typed stays as it is
 * while the page is drawn anew. */
export function Entry({ value, label, onValue, class: kind = "", type = "text", ...rest }) {
  const [draft, setDraft] = useState(null);
  const typed = useRef(null);
  const put = (text) => {
    typed.current = text;
    setDraft(text);
  };
  const commit = () => {
    const text = typed.current?.trim();
    put(null);
    if (text !== undefined && text !== String(value)) onValue(text);
  };
  const key = (event) => {
    if (event.key === "Escape") put(null);
    if (event.key === "Enter" || event.key === "Escape") event.target.blur();
    event.stopPropagation();
  };
  return html`<input type=${type} class=${kind} aria-label=${label} value=${draft ?? value} onInput=${(event) => put(event.target.value)}
    onBlur=${commit} onKeyDown=${key} ...${rest} />`;
}
