// A recording from a microphone or an interface.

import { Icon } from "./parts.js";
import { fail } from "./store.js";
import { clock } from "./time.js";
import { html, useEffect, useRef, useState } from "../vendor/preact.js";

const MOST = 600; // seconds, as long as a song can be

export function Recorder({ busy, onDone }) {
  const [since, setSince] = useState(null);
  const [now, setNow] = useState(0);
  const [level, setLevel] = useState(0);
  const running = useRef(null);

  const stop = (drop) => {
    const { recorder, context, tracks, timer } = running.current ?? {};
    running.current = null;
    clearInterval(timer);
    if (recorder && drop) recorder.onstop = null;
    if (recorder?.state === "recording") recorder.stop();
    for (const track of tracks ?? []) track.stop();
    context?.close();
    setSince(null);
  };
  useEffect(() => () => stop(true), []);

  const start = async () => {
    fail("start", null);
    if (!navigator.mediaDevices) return fail("start", "This browser records only on a page that is opened as localhost or over HTTPS");
    let input;
    try {
      // what calls are cleaned with would change the music
      const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
      input = await navigator.mediaDevices.getUserMedia({ audio });
    } catch (error) {
      const denied = error.name === "NotAllowedError";
      return fail("start", denied ? "The browser may not use the microphone: allow it and try again" : "No microphone was found");
    }
    const recorder = new MediaRecorder(input, { audioBitsPerSecond: 256_000 });
    const parts = [];
    recorder.ondataavailable = (event) => parts.push(event.data);
    recorder.onstop = () => {
      const blob = new Blob(parts, { type: recorder.mimeType });
      const ending = /mp4/.test(recorder.mimeType) ? "m4a" : /ogg/.test(recorder.mimeType) ? "ogg" : "webm";
      if (blob.size) onDone(blob, `Recording ${new Date().toLocaleString([], { dateStyle: "short", timeStyle: "short" }).replace(/[/\\:]/g, "-")}.${ending}`);
      else fail("start", "Nothing was recorded");
    };
    const context = new AudioContext();
    const meter = new AnalyserNode(context, { fftSize: 2048 });
    context.createMediaStreamSource(input).connect(meter);
    const values = new Float32Array(2048);
    const begun = performance.now();
    const timer = setInterval(() => {
      meter.getFloatTimeDomainData(values);
      setLevel(values.reduce((most, value) => Math.max(most, Math.abs(value)), 0));
      const seconds = (performance.now() - begun) / 1000;
      setNow(seconds);
      if (seconds >= MOST) stop(false);
    }, 100);
    recorder.start(1000);
    running.current = { recorder, context, tracks: input.getTracks(), timer };
    setNow(0);
    setSince(begun);
  };

  return html`<div class="card form">
    ${since === null
      ? html`<button type="button" class="main" disabled=${busy} onClick=${start}>Start recording</button>
          <span class="soft">Play to it at a steady tempo; use headphones.</span>`
      : html`<button type="button" class="main stop" onClick=${() => stop(false)}><${Icon} name="pause" /> Stop and use it</button>
          <button type="button" class="plain" onClick=${() => stop(true)}>Discard</button>
          <span class="time" role="timer">${clock(now)}</span>
          <meter class="meter" min="0" max="1" high="0.99" value=${Math.min(1, level)} aria-label="Input level"></meter>`}
  </div>`;
}
