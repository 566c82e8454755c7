// Playback: every channel is a whole buffer on one AudioContext, and all of them are started for the same frame.

import { bytes } from "./api.js";

const AHEAD = 0.06; // seconds between the order to play and the first frame, so that every source is ready
const FADE = 0.008; // where a take replaces another
const HEADROOM = 0.5; // 6 dB, so that a mastered song and stems over it do not clip; exports are set below full scale
const KEEP = 24; // decoded files that are kept

export class Player {
  constructor() {
    this.context = null;
    this.channels = new Map();
    this.decoded = new Map();
    this.anchor = null; // {when, frame, loop}: frame `frame` of the song sounds at `when` of the context
    this.before = null; // what is in force until `when`
    this.rest = 0; // frame at which playback stands
    this.loop = null; // {first, last} frames
    this.rate = 44100;
    this.frames = 0;
    this.changed = () => {};
  }

  /** For a session: its rate and its length; what played before is dropped. */
  open(rate, frames) {
    if (this.context && this.rate === rate && this.frames === frames) return;
    this.close();
    this.rate = rate;
    this.frames = frames;
    this.context = new AudioContext({ sampleRate: rate, latencyHint: "interactive" });
    this.master = new GainNode(this.context, { gain: HEADROOM });
    this.meter = new AnalyserNode(this.context, { fftSize: 2048 });
    this.master.connect(this.meter).connect(this.context.destination);
  }

  close() {
    this.stop();
    this.context?.close();
    this.context = null;
    this.channels.clear();
    this.decoded.clear();
    this.rest = 0;
    this.loop = null;
  }

  get playing() {
    return this.anchor !== null;
  }

  /** The decoded file, of exactly the session's length: a loop is the same for every channel only then. */
  decode(file) {
    const known = this.decoded.get(file);
    if (known) {
      this.decoded.delete(file);
      this.decoded.set(file, known);
      return known;
    }
    const context = this.context;
    const made = bytes(file)
      .then((data) => context.decodeAudioData(data))
      .then((buffer) => {
        if (buffer.length === this.frames) return buffer;
        const whole = new AudioBuffer({
          length: this.frames,
          numberOfChannels: buffer.numberOfChannels,
          sampleRate: buffer.sampleRate,
        });
        for (let c = 0; c < buffer.numberOfChannels; c++)
          whole.copyToChannel(buffer.getChannelData(c).subarray(0, this.frames), c);
        return whole;
      });
    this.decoded.set(file, made);
    made.catch(() => this.decoded.delete(file));
    const used = new Set([...this.channels.values()].map((channel) => channel.file));
    for (const old of this.decoded.keys()) {
      if (this.decoded.size <= KEEP) break;
      if (!used.has(old) && old !== file) this.decoded.delete(old);
    }
    return made;
  }

  /** A channel plays this file, or growing sound, from now on; null: nothing. Resolves when it sounds, rejects where it
   * cannot be read; until then it plays what it did. */
  async set(key, file) {
    const channel = this.channels.get(key) ?? this.#channel(key);
    if (channel.file === file) return channel.ready;
    channel.file = file;
    if (!file) {
      this.#end(channel, this.context.currentTime);
      channel.buffer = null;
      return;
    }
    const read = file.getChannelData ? Promise.resolve(file) : this.decode(file);
    channel.ready = read.then((buffer) => {
      if (channel.file !== file || this.channels.get(key) !== channel) return;
      channel.buffer = buffer;
      if (this.playing) {
        const when = this.#soon();
        this.#end(channel, when);
        this.#begin(channel, when, this.#frameAt(when));
      }
      this.changed();
    });
    channel.ready.catch(() => {
      if (channel.file === file) channel.file = null;
    });
    return channel.ready;
  }

  drop(key) {
    const channel = this.channels.get(key);
    if (!channel) return;
    this.#end(channel, this.context.currentTime);
    channel.out.disconnect();
    this.channels.delete(key);
  }

  /** Call a channel otherwise; what plays goes on. */
  rename(key, name) {
    const channel = this.channels.get(key);
    if (!channel) return;
    this.drop(name);
    this.channels.delete(key);
    this.channels.set(name, channel);
  }

  /** gain in dB, pan -1 to 1 (a balance, as in the exported mix), audible. */
  mix(key, gain, pan, audible) {
    const channel = this.channels.get(key) ?? this.#channel(key);
    const level = audible ? 10 ** (gain / 20) : 0;
    const now = this.context.currentTime;
    for (const [side, wanted] of [["left", level * Math.min(1, 1 - pan)], ["right", level * Math.min(1, 1 + pan)]]) {
      if (channel.levels[side] === wanted) continue;
      channel.levels[side] = wanted;
      channel[side].gain.setTargetAtTime(wanted, now, 0.005);
    }
  }

  #channel(key) {
    const context = this.context;
    const input = new GainNode(context, { channelCount: 2, channelCountMode: "explicit" });
    const split = new ChannelSplitterNode(context, { numberOfOutputs: 2 });
    const out = new ChannelMergerNode(context, { numberOfInputs: 2 });
    const left = new GainNode(context, { gain: 0 });
    const right = new GainNode(context, { gain: 0 });
    const meter = new AnalyserNode(context, { fftSize: 1024 });
    input.connect(split);
    split.connect(left, 0).connect(out, 0, 0);
    split.connect(right, 1).connect(out, 0, 1);
    out.connect(meter);
    out.connect(this.master);
    const channel = { input, left, right, out, meter, levels: {}, file: null, buffer: null, voice: null, ready: Promise.resolve() };
    this.channels.set(key, channel);
    return channel;
  }

  /** The next moment that can be met, on a frame of the context. */
  #soon() {
    return Math.ceil((this.context.currentTime + AHEAD) * this.rate) / this.rate;
  }

  #frameAt(time) {
    const { when, frame, loop } = this.anchor;
    const at = frame + Math.round((time - when) * this.rate);
    if (!loop || at < loop.last) return at;
    return loop.first + ((at - loop.first) % (loop.last - loop.first));
  }

  #begin(channel, when, frame) {
    if (!channel.buffer || frame >= this.frames) return;
    const { buffer } = channel;
    const source = buffer.source ? buffer.source(this.context) : new AudioBufferSourceNode(this.context, { buffer });
    const fade = new GainNode(this.context, { gain: 0 });
    const loop = this.anchor.loop;
    if (loop) {
      source.loop = true;
      source.loopStart = loop.first / this.rate;
      source.loopEnd = loop.last / this.rate;
    }
    source.connect(fade).connect(channel.input);
    // what begins with the song begins at full level; what replaces another comes in over a few milliseconds
    fade.gain.setValueAtTime(frame === 0 ? 1 : 0, when);
    if (frame > 0) fade.gain.linearRampToValueAtTime(1, when + FADE);
    source.start(when, frame / this.rate);
    channel.voice = { source, fade };
  }

  #end(channel, when) {
    const voice = channel.voice;
    if (!voice) return;
    channel.voice = null;
    voice.fade.gain.cancelScheduledValues(when);
    voice.fade.gain.setValueAtTime(1, when);
    voice.fade.gain.linearRampToValueAtTime(0, when + FADE);
    voice.source.stop(when + FADE);
    voice.source.onended = () => voice.fade.disconnect();
  }

  /** Start all channels anew at a frame. */
  #start(frame) {
    const when = this.#soon();
    const loop = this.loop;
    if (loop && (frame < loop.first || frame >= loop.last)) frame = loop.first;
    this.before = this.anchor && { ...this.anchor };
    for (const channel of this.channels.values()) this.#end(channel, when);
    this.anchor = { when, frame, loop };
    for (const channel of this.channels.values()) this.#begin(channel, when, frame);
  }

  async play() {
    if (this.playing || !this.context) return;
    await this.context.resume();
    if (this.playing) return;
    this.#start(this.rest >= this.frames ? 0 : this.rest);
    this.changed();
  }

  pause() {
    if (!this.playing) return;
    this.rest = this.frame;
    const now = this.context.currentTime;
    this.anchor = this.before = null;
    for (const channel of this.channels.values()) this.#end(channel, now);
    this.changed();
  }

  stop() {
    this.pause();
    this.rest = 0;
  }

  seek(seconds) {
    const frame = Math.max(0, Math.min(this.frames - 1, Math.round(seconds * this.rate)));
    if (this.playing) this.#start(frame);
    else this.rest = frame;
    this.changed();
  }

  /** Play a stretch over and over, in seconds; null: to the end. */
  setLoop(start, end) {
    const loop =
      start === null ? null : { first: Math.round(start * this.rate), last: Math.min(this.frames, Math.round(end * this.rate)) };
    if (loop?.first === this.loop?.first && loop?.last === this.loop?.last) return;
    this.loop = loop;
    if (this.playing) this.#start(this.frame);
  }

  /** The frame that sounds now. */
  get frame() {
    if (!this.playing) return this.rest;
    const now = this.context.currentTime - (this.context.outputLatency || 0);
    const from = now < this.anchor.when && this.before ? this.before : this.anchor;
    const at = from.frame + Math.round((now - from.when) * this.rate);
    const { loop } = from;
    if (loop && at >= loop.last) return loop.first + ((at - loop.first) % (loop.last - loop.first));
    return Math.max(from === this.anchor ? from.frame : 0, Math.min(at, this.frames));
  }

  get seconds() {
    return this.frame / this.rate;
  }

  /** To be called for each picture: playback without a loop ends with the song. */
  tick() {
    if (this.playing && !this.anchor.loop && this.frame >= this.frames) {
      this.stop();
    }
  }

  /** The peak of what a channel (or, without a key, the sum) gives now, 0 to 1 and above. */
  level(key) {
    const meter = key === undefined ? this.meter : this.channels.get(key)?.meter;
    if (!meter || !this.playing) return 0;
    this.scratch ??= new Float32Array(2048);
    const part = this.scratch.subarray(0, meter.fftSize);
    meter.getFloatTimeDomainData(part);
    let peak = 0;
    for (const value of part) peak = Math.max(peak, Math.abs(value));
    return peak;
  }
}
