// Keys of the session page. What is typed in a field, or pressed on a focused control, is that control's.

import { barAt } from "./time.js";
import { changed, sounding, player, set, state, step, stopListening, toggle, view } from "./store.js";

export const KEYS = [
  ["Space", "play, pause"],
  ["← →", "a bar back, a bar on"],
  ["Shift + ← →", "mark the bar, and one bar less or more"],
  ["↑ ↓", "the track above, the track below"],
  ["Alt + ↑ ↓", "move the selected track up, down"],
  ["Home", "to the beginning"],
  ["L", "loop the marked bars, or the song's"],
  ["Esc", "no bars are marked"],
  ["1 to 9", "listen to a take of the selected track"],
  ["K", "keep the take that is listened to"],
  ["M, S", "mute, solo the selected track"],
  ["Delete", "remove the selected track"],
  ["Ctrl + Z", "undo"],
  ["Ctrl + Shift + Z", "redo"],
  ["+ − 0", "zoom in, out, the whole song"],
  ["?", "this list"],
];

export function togglePlay() {
  if (player.playing) player.pause();
  else player.play();
}

/** Loop the region; where none is marked, the bar that is played. */
export function toggleLoop() {
  if (!state.looping && !state.region) {
    const bar = barAt(state.bars, player.seconds);
    if (!bar) return;
    mark(bar, bar);
  }
  set({ looping: !state.looping });
}

/** Mark bars, in any order. */
export function mark(one, other) {
  const [first, last] = one.start <= other.start ? [one, other] : [other, one];
  set({ region: { start: first.start, end: last.end, first: first.bar, last: last.bar } });
}

export function audition(track, take) {
  if (state.listening?.track === track.name) stopListening();
  const made = { ...state.audition };
  if (take === track.kept) delete made[track.name];
  else made[track.name] = take;
  set({ audition: made, selected: track.name });
}

export function keep(track) {
  const take = sounding(track);
  if (take.name !== track.kept) step(`track ${track.name}`, { do: "keep", track: track.name, take: take.name });
}

export function remove(track) {
  step(`track ${track.name}`, { do: "remove", track: track.name });
}

/** Whether a track can go so many places on. */
export function canMove(track, by) {
  return state.session.tracks[state.session.tracks.indexOf(track) + by] !== undefined;
}

export function moveTrack(track, by) {
  if (!canMove(track, by)) return;
  step(`track ${track.name}`, { do: "move", track: track.name, to: state.session.tracks.indexOf(track) + by + 1 });
}

function moveBar(by, extend) {
  const bars = state.bars;
  if (!bars.length) return player.seek(player.seconds + by * 2);
  if (extend) {
    const region = state.region;
    if (!region || region.first === undefined) {
      const bar = barAt(bars, player.seconds);
      return mark(bar, bar);
    }
    const first = bars.findIndex((bar) => bar.bar === region.first);
    const last = bars.findIndex((bar) => bar.bar === region.last) + by;
    return mark(bars[first], bars[Math.max(first, Math.min(bars.length - 1, last))]);
  }
  const here = bars.indexOf(barAt(bars, player.seconds));
  const back = player.playing ? 0.3 : 0.01; // a second press goes on to the bar before
  const to = by < 0 && player.seconds > bars[here].start + back ? here : here + by;
  const bar = bars[Math.max(0, Math.min(bars.length - 1, to))];
  player.seek(bar.start);
  view.follow(bar.start);
}

function selectTrack(by) {
  const tracks = state.session.tracks;
  if (!tracks.length) return;
  const at = tracks.findIndex((track) => track.name === state.selected);
  set({ selected: tracks[Math.max(0, Math.min(tracks.length - 1, at + by))].name });
}

function onKey(event) {
  if (!state.session || state.session.state !== "ready" || document.querySelector("dialog[open]")) return;
  const on = event.target;
  const typing = on.matches?.("input:not([type=range], [type=checkbox], [type=radio]), textarea, select, [contenteditable]");
  if (typing) return;
  const control = on.matches?.("button, summary, a, input, [role=slider]");
  const key = event.key;
  const track = state.session.tracks.find((one) => one.name === state.selected);
  const command = event.ctrlKey || event.metaKey;
  const run = (action) => {
    event.preventDefault();
    action();
  };
  if (command && key.toLowerCase() === "z") return run(() => step("history", { do: event.shiftKey ? "again" : "undo" }));
  if (command && key.toLowerCase() === "y") return run(() => step("history", { do: "again" }));
  if (event.altKey && track && (key === "ArrowUp" || key === "ArrowDown")) return run(() => moveTrack(track, key === "ArrowUp" ? -1 : 1));
  if (command || event.altKey) return;
  if (key === " ") return control ? undefined : run(togglePlay);
  if (key === "?") return run(() => set({ dialog: "help" }));
  if (key === "l" || key === "L") return run(toggleLoop);
  if (key === "Escape") return set({ region: null, looping: false });
  if (on.matches?.("input, [role=slider]") && /^(Arrow|Home|End|Page)/.test(key)) return;
  if (key === "ArrowLeft" || key === "ArrowRight") return run(() => moveBar(key === "ArrowLeft" ? -1 : 1, event.shiftKey));
  if (key === "ArrowUp" || key === "ArrowDown") return run(() => selectTrack(key === "ArrowUp" ? -1 : 1));
  if (key === "Home") return run(() => (player.seek(0), view.follow(0)));
  if (key === "+" || key === "=") return run(() => view.zoom(1.5));
  if (key === "-") return run(() => view.zoom(1 / 1.5));
  if (key === "0") return run(() => view.fit());
  if (!track) return;
  if (/^[1-9]$/.test(key) && track.takes[key - 1]) return run(() => audition(track, track.takes[key - 1].name));
  if (key === "k" || key === "K") return run(() => keep(track));
  if (key === "m" || key === "M")
    return run(() => step(`track ${track.name}`, { do: "mix", track: track.name, mute: !track.mute }));
  if (key === "s" || key === "S") return run(() => toggle("solo", track.name));
  if (key === "Delete" || key === "Backspace") return run(() => remove(track));
  changed();
}

export function listenToKeys() {
  document.addEventListener("keydown", onKey);
}
