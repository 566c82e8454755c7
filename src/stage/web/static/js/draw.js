// One lane of the time line on a canvas of its width: bars, region, waveform, notes.
//
// Our own in place of wavesurfer.js, on purpose. A lane shows the notes over the sound, all lanes share one time line and
// one playhead, and playback is ours anyway (one AudioContext, every source started for the same frame). wavesurfer
// draws the whole length of every track (at 100 pixels a second a song of ten minutes is 60,000 pixels a track) and has
// a player and a scroller for each. Here a lane costs what is in sight, whatever the song's length.

import { above } from "./time.js";

const DRUM_ROWS = ["kick", "snare", "hats", "toms", "ride", "crash", "other"];
const KICK = new Set([35, 36]);
const SNARE = new Set([37, 38, 39, 40]);
const HATS = new Set([22, 26, 42, 44, 46]);
const TOMS = new Set([41, 43, 45, 47, 48, 50, 58]);
const RIDE = new Set([51, 53, 59]);
const CRASH = new Set([49, 52, 55, 57]);

/** The row of a drum hit: by its key of General MIDI. */
export function drumRow(pitch) {
  const row = [KICK, SNARE, HATS, TOMS, RIDE, CRASH].findIndex((keys) => keys.has(pitch));
  return row < 0 ? DRUM_ROWS.length - 1 : row;
}

/** A canvas of so many CSS pixels, sharp on any screen, and cleared. */
export function prepare(canvas, width, height) {
  const scale = window.devicePixelRatio || 1;
  const [w, h] = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w;
    canvas.height = h;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  return pen;
}

/** Lines of bars, and of beats where there is room for them. */
export function drawGrid(pen, view, time, bars, height, colors) {
  if (!bars.length) return;
  const perBar = ((bars[bars.length - 1].end - bars[0].start) / bars.length) * view.perSecond;
  const every = perBar > 24 ? 1 : perBar > 6 ? 4 : 16;
  if (perBar > 90) {
    pen.fillStyle = colors.beat;
    for (let i = above(time.times, view.start - 1e-6); i < time.times.length && time.times[i] < view.end; i++)
      pen.fillRect(Math.round(view.x(time.times[i])), 0, 1, height);
  }
  pen.fillStyle = colors.bar;
  for (let i = Math.max(0, above(bars, view.start, (bar) => bar.start) - 1); i < bars.length; i++) {
    if (bars[i].start > view.end) break;
    if ((bars[i].bar - 1) % every === 0) pen.fillRect(Math.round(view.x(bars[i].start)), 0, 1, height);
  }
}

export function drawRegion(pen, view, region, height, color) {
  if (!region) return;
  const from = Math.max(0, view.x(region.start));
  const to = Math.min(view.width, view.x(region.end));
  if (to <= from) return;
  pen.fillStyle = color;
  pen.fillRect(from, 0, to - from, height);
}

const COARSE = 16; // peaks in one of the coarser row

/** The server's peaks as two rows of (least, greatest), one of them coarser, so that any zoom reads few. */
export function readPeaks({ seconds, peaks }) {
  const fine = new Float32Array(2 * peaks.length);
  const coarse = new Float32Array(2 * Math.ceil(peaks.length / COARSE));
  peaks.forEach(([least, most], i) => {
    fine[2 * i] = least;
    fine[2 * i + 1] = most;
    const at = 2 * Math.floor(i / COARSE);
    coarse[at] = Math.min(coarse[at], least);
    coarse[at + 1] = Math.max(coarse[at + 1], most);
  });
  return { fine, coarse, rate: peaks.length / seconds };
}

/** Least and greatest sample of each pixel: of the sound itself where it is near enough, else of the server's peaks. */
function columns(view, peaks, buffer) {
  const { start, perSecond, width } = view;
  const near = buffer && (!peaks || perSecond > peaks.rate);
  if (!near && !peaks) return null;
  const far = !near && perSecond * COARSE < peaks.rate;
  const pairs = far ? peaks.coarse : peaks?.fine;
  const data = near ? Array.from({ length: buffer.numberOfChannels }, (_, c) => buffer.getChannelData(c)) : null;
  const rate = near ? buffer.sampleRate : far ? peaks.rate / COARSE : peaks.rate;
  const length = near ? buffer.length : pairs.length / 2;
  const made = new Float32Array(2 * Math.ceil(width));
  for (let x = 0; x < width; x++) {
    const from = Math.floor((start + x / perSecond) * rate);
    if (from >= length) break;
    const to = Math.min(length, Math.max(from + 1, Math.floor((start + (x + 1) / perSecond) * rate)));
    let [least, most] = [Infinity, -Infinity];
    if (near) {
      for (const channel of data)
        for (let i = from; i < to; i++) {
          const value = channel[i];
          if (value < least) least = value;
          if (value > most) most = value;
        }
    } else {
      for (let i = 2 * from; i < 2 * to; i += 2) {
        if (pairs[i] < least) least = pairs[i];
        if (pairs[i + 1] > most) most = pairs[i + 1];
      }
    }
    made[2 * x] = least;
    made[2 * x + 1] = most;
  }
  return made;
}

export function drawWave(pen, view, peaks, buffer, height, color, alpha, until = view.seconds) {
  const made = columns(view, peaks, buffer);
  if (!made) return;
  const middle = height / 2;
  const scale = middle - 4;
  pen.globalAlpha = alpha;
  pen.fillStyle = color;
  const end = Math.min(view.width, view.x(until));
  for (let x = 0; x < end; x++) {
    const top = middle - Math.min(1, made[2 * x + 1]) * scale;
    const bottom = middle - Math.max(-1, made[2 * x]) * scale;
    pen.fillRect(x, top - 0.5, 1, bottom - top + 1);
  }
  pen.globalAlpha = 1;
}

/** Notes over the sound: rows of pieces for drums, pitches for the others. notes: sorted, with `low` and `high`. */
export function drawNotes(pen, view, notes, height, color) {
  if (!notes || !notes.list.length) return;
  const rows = notes.drums ? notes.rows.length : notes.high - notes.low + 1;
  const step = Math.min(notes.drums ? 16 : 8, (height - 12) / rows);
  const top = (height - step * rows) / 2;
  pen.fillStyle = color;
  const longest = notes.longest;
  const last = new Float64Array(rows).fill(-1); // pixel of the last note in each row: far away many fall on one
  for (let i = above(notes.list, view.start - longest, (note) => note.start); i < notes.list.length; i++) {
    const note = notes.list[i];
    if (note.start > view.end) break;
    const row = notes.drums ? rows - 1 - notes.rows.indexOf(note.row) : notes.high - note.pitch;
    const x = view.x(note.start);
    if (Math.floor(x) === last[row]) continue;
    last[row] = Math.floor(x);
    const width = notes.drums ? Math.max(2, Math.min(6, view.perSecond / 16)) : Math.max(2, note.length * view.perSecond - 1);
    pen.globalAlpha = 0.35 + (0.65 * note.velocity) / 127;
    pen.fillRect(x, top + row * step + 0.5, width, Math.max(2, step - 1));
  }
  pen.globalAlpha = 1;
}

/** Of the file of notes: what drawing needs. */
export function readNotes(list, stem) {
  const drums = stem === "drums";
  const sorted = list.map((note) => ({ ...note, row: drums ? drumRow(note.pitch) : 0 })).sort((a, b) => a.start - b.start);
  const pitches = sorted.map((note) => note.pitch);
  let longest = 0;
  for (const note of sorted) longest = Math.max(longest, note.length);
  return {
    list: sorted,
    drums,
    longest: drums ? 0.1 : longest,
    rows: [...new Set(sorted.map((note) => note.row))].sort((a, b) => a - b),
    low: Math.min(...pitches) - 1,
    high: Math.max(...pitches) + 1,
  };
}
