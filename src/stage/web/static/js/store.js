// What the page shows. All that is worth keeping is the server's; here are only the session as it was last sent, what is
// selected, and what is listened to.

import * as api from "./api.js";
import { Player } from "./audio.js";
import { readNotes, readPeaks } from "./draw.js";
import { begin, learn, MADE, trackOf } from "./listening.js";
import { barsOf } from "./time.js";
import { View } from "./view.js";

export const player = new Player();
export const view = new View();

export const state = {
  id: null, // of the session that is open
  session: null,
  bars: [],
  models: [],
  live: true, // whether events arrive
  errors: {}, // one line by place
  busy: {}, // by place: what is under way
  jobs: new Map(),
  selected: null, // name of a track
  listening: null, // to a take that is being made (listening.js)
  audition: {}, // by track: the take that is listened to in place of the kept one
  solo: new Set(),
  quiet: new Set(), // of "song" and "click": not listened to
  songGain: 0,
  region: null,
  looping: false,
  editing: false, // beats and chords
  dialog: null,
  exported: null, // {file, revision}
};

const listeners = new Set();
let waiting = false;

export function subscribe(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function changed() {
  if (waiting) return;
  waiting = true;
  queueMicrotask(() => {
    waiting = false;
    sound();
    for (const listener of listeners) listener();
    view.ask();
  });
}

export function set(values) {
  Object.assign(state, values);
  changed();
}

player.changed = changed;

export function fail(place, error) {
  state.errors = { ...state.errors, [place]: error ? (error.message ?? String(error)) : null };
  changed();
}

/** Run something of the server's at a place of the page: one at a time, its error is one line there. Null: it failed. */
export async function doing(place, what) {
  if (state.busy[place]) return null;
  state.busy = { ...state.busy, [place]: true };
  fail(place, null);
  try {
    return await what();
  } catch (error) {
    fail(place, error);
    return null;
  } finally {
    state.busy = { ...state.busy, [place]: false };
    changed();
  }
}

// ------------------------------------------------------------------ sessions

let unlisten = () => {};

export async function open(id) {
  if (state.id === id) return;
  shut();
  state.id = id;
  changed();
  await refresh();
  if (state.id !== id || !state.session) return;
  unlisten = api.listen(
    id,
    (event, data) => {
      if (state.id !== id) return;
      if (event === "job") onJob(data);
      if (event === "session" && (!state.session || data.revision !== state.session.revision)) refresh();
    },
    (live, error) => {
      if (state.id !== id) return;
      if (live && !state.live) refresh(); // what happened meanwhile
      state.live = live;
      if (error) fail("session", error);
      changed();
    },
  );
}

export function shut() {
  unlisten();
  unlisten = () => {};
  player.close();
  Object.assign(state, {
    ...{ id: null, session: null, bars: [], errors: {}, busy: {}, jobs: new Map(), selected: null, audition: {} },
    ...{ solo: new Set(), quiet: new Set(), songGain: 0, region: null, looping: false, editing: false, dialog: null },
    ...{ exported: null, live: true },
  });
  stopListening();
  seen.clear();
  peaks.clear();
  notes.clear();
  changed();
}

let asked = 0;

/** The session as the server has it now. */
export async function refresh() {
  const id = state.id;
  const turn = ++asked;
  try {
    const session = await api.get(`/api/sessions/${id}`);
    if (state.id === id && turn === asked) take(session);
  } catch (error) {
    if (state.id === id) fail("session", error);
  }
}

function take(session) {
  if (session.id !== state.id) return;
  if (state.session && session.revision < state.session.revision) return;
  const before = state.session;
  state.session = session;
  state.bars = session.time ? barsOf(session.time, session.seconds) : [];
  state.errors = { ...state.errors, session: null };
  const jobs = new Map(session.jobs.map((job) => [job.id, job]));
  state.jobs = jobs;
  if (session.state === "ready") {
    player.open(session.rate, Math.round(session.seconds * session.rate));
    view.seconds = session.seconds;
  }
  const names = new Set(session.tracks.map((track) => track.name));
  const fresh = before && session.tracks.find((track) => !before.tracks.some((other) => other.name === track.name));
  if (fresh) state.selected = fresh.name;
  if (!names.has(state.selected)) state.selected = session.tracks[0]?.name ?? null;
  state.solo = new Set([...state.solo].filter((name) => name === "song" || names.has(name)));
  for (const [name, take] of Object.entries(state.audition)) {
    const track = session.tracks.find((other) => other.name === name);
    const old = before?.tracks.find((other) => other.name === name);
    const there = track?.takes.some((other) => other.name === take);
    if (!there || track.kept === take || (old && old.kept !== track.kept)) delete state.audition[name];
  }
  for (const job of session.jobs) learn(state.listening, job);
  settle();
  if (state.exported && state.exported.revision !== session.revision) state.exported = null;
  if (state.region && state.region.end > session.seconds + 0.01) state.region = null;
  changed();
}

const seen = new Set(); // jobs whose end was dealt with

function onJob(job) {
  learn(state.listening, job);
  settle();
  if (["failed", "cancelled"].includes(job.state) && state.listening?.job === job.id && !state.listening.take) stopListening();
  if (["done", "cancelled"].includes(job.state)) {
    state.jobs.delete(job.id);
    if (!seen.has(job.id)) {
      seen.add(job.id);
      if (job.do === "export" && job.result?.file) state.exported = { file: job.result.file, revision: state.session.revision };
      refresh();
    }
  } else {
    state.jobs.set(job.id, job);
    if (job.state === "failed" && !seen.has(job.id)) {
      seen.add(job.id);
      refresh();
    }
  }
  changed();
}

let line = Promise.resolve();

/** A quick step; steps go to the server one after the other. place: where its error is shown. */
export function step(place, body, exact = false) {
  const id = state.id;
  line = line.then(async () => {
    fail(place, null);
    try {
      const given = exact ? { ...body, revision: state.session.revision } : body;
      take(await api.send("POST", `/api/sessions/${id}/steps`, given));
    } catch (error) {
      if (state.id !== id) return;
      fail(place, error);
      refresh();
    }
  });
  return line;
}

/** Order a job. Its end comes as an event. */
export function order(place, body) {
  return doing(place, async () => {
    const job = await api.send("POST", `/api/sessions/${state.id}/jobs`, body);
    if (!state.jobs.has(job.id) && !seen.has(job.id)) state.jobs.set(job.id, job);
    return job;
  });
}

export function cancel(job) {
  const ended = job.state === "failed";
  if (ended) {
    state.jobs.delete(job.id);
    changed();
  }
  return doing(`job ${job.id}`, async () => {
    const after = await api.send("DELETE", `/api/jobs/${job.id}`);
    if (!ended && after) onJob(after);
  });
}

// ------------------------------------------------------------------ sound

/** Listen to the take that a job makes now, from where the playhead is. */
export function listenTo(job) {
  stopListening();
  const onError = (error) => {
    stopListening();
    fail("play", error);
  };
  state.listening = begin(job, trackOf(job, state.session.tracks), player.rate, player.frames, onError);
  state.listening.sound.changed = () => view.ask();
  changed();
  player.play();
}

export function stopListening() {
  state.listening?.stop();
  state.listening = null;
  changed();
}

/** The take that is listened to while it is made: as soon as the session has it, its file takes the place of its growing
 * sound. */
function settle() {
  const { listening, session } = state;
  if (!listening) return;
  const track = listening.take && session.tracks.find((one) => one.takes.some((take) => take.name === listening.take));
  if (track) {
    if (listening.track === null) player.rename(MADE, `track ${track.name}`);
    if (track.kept !== listening.take) state.audition[track.name] = listening.take;
    stopListening();
  } else if (listening.track !== null && !session.tracks.some((one) => one.name === listening.track)) stopListening();
}

/** The take of a track that is listened to. */
export function sounding(track) {
  const name = state.audition[track.name] ?? track.kept;
  return track.takes.find((take) => take.name === name) ?? track.takes.find((take) => take.name === track.kept);
}

export function audible(key, mute) {
  if (state.solo.size) return state.solo.has(key);
  return !mute;
}

function sound() {
  const session = state.session;
  if (!session || session.state !== "ready" || !player.context) return;
  const wanted = new Map();
  if (session.source.file) wanted.set("song", [session.source.file, state.songGain, 0, audible("song", state.quiet.has("song"))]);
  if (session.click) wanted.set("click", [session.click, -6, 0, clicks()]);
  const { listening } = state;
  for (const track of session.tracks) {
    const file = listening?.track === track.name ? listening.sound : sounding(track).file;
    wanted.set(`track ${track.name}`, [file, track.gain, track.pan, audible(track.name, track.mute)]);
  }
  if (listening?.track === null) wanted.set(MADE, [listening.sound, 0, 0, true]);
  for (const key of [...player.channels.keys()]) if (!wanted.has(key)) player.drop(key);
  for (const [key, [file, gain, pan, on]] of wanted) {
    if (key === "click" && !on && !player.channels.has(key)) continue; // not loaded before it is wanted
    player.mix(key, gain, pan, on);
    player.set(key, file).catch((error) => fail("play", `${key}: ${error.message}`));
  }
  const loop = state.looping && state.region;
  player.setLoop(loop ? loop.start : null, loop ? loop.end : null);
}

/** whether the metronome is heard: for a session without a song it is, until it is turned off. */
export function clicks() {
  const on = state.session?.source.file ? state.quiet.has("click on") : !state.quiet.has("click");
  return on && !state.solo.size;
}

export function toggleClicks() {
  const key = state.session.source.file ? "click on" : "click";
  toggle("quiet", key);
}

export function toggle(set, key) {
  const made = new Set(state[set]);
  if (!made.delete(key)) made.add(key);
  state[set] = made;
  changed();
}

// ------------------------------------------------------------------ pictures

const peaks = new Map();
const notes = new Map();

/** What a map has for a file; where nothing is there it is fetched, and null for now. */
function fetched(map, file, read) {
  if (!file) return null;
  if (map.has(file)) return map.get(file);
  map.set(file, null);
  while (map.size > 64) map.delete(map.keys().next().value);
  read()
    .then((made) => map.set(file, made))
    .then(() => view.ask())
    .catch(() => map.delete(file));
  return null;
}

export function peaksOf(file, seconds) {
  const n = Math.min(60_000, Math.max(1000, Math.ceil(seconds * 60)));
  return fetched(peaks, file, async () => readPeaks(await api.get(`/api/files/${file}/peaks?n=${n}`)));
}

export function notesOf(file, stem) {
  return fetched(notes, file, async () => readNotes(await api.get(`/api/files/${file}`), stem));
}

export function bufferOf(key, file) {
  const channel = player.channels.get(key);
  return channel && channel.file === file ? channel.buffer : null;
}
