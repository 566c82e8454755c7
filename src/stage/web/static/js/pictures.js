// What moves: levels, the clock, the playhead; and the colours that canvases take from the style sheet.

import { player } from "./store.js";

/** 48 dB below full scale to full scale. */
export function drawLevel(bar, level) {
  const db = level > 0 ? 20 * Math.log10(level) : -99;
  const shown = Math.max(0, Math.min(1, 1 + db / 48));
  const last = bar.shown ?? 0;
  bar.shown = Math.max(shown, last - 0.02);
  if (bar.shown === last) return;
  bar.style.transform = `scaleX(${bar.shown.toFixed(3)})`;
  bar.classList.toggle("over", level >= 1);
}

const pictures = new Set();
let drawing = false;

/** Call with every picture while something plays, and once after every change. Returns what ends it. */
export function onPicture(draw) {
  pictures.add(draw);
  if (!drawing) {
    drawing = true;
    const turn = () => {
      player.tick();
      for (const one of pictures) one();
      if (pictures.size) requestAnimationFrame(turn);
      else drawing = false;
    };
    requestAnimationFrame(turn);
  }
  return () => pictures.delete(draw);
}

let colors = null;
document.addEventListener("colors", () => (colors = null));

/** The colours of the style sheet, by name. */
export function palette() {
  if (colors) return colors;
  const style = getComputedStyle(document.documentElement);
  const names = ["text", "soft", "bar", "beat", "region", "accent", "song", "drums", "bass", "keys", "guitar", "pads", "other"];
  colors = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  return colors;
}

export function colorName(stem) {
  return ["drums", "bass", "keys", "guitar", "pads", "song"].includes(stem) ? stem : "other";
}
