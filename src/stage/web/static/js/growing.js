// The sound of a take while it is made: what is there already plays in time with everything else.
//
// Pieces of it are started for the frame of the context at which they stand in the song, and each fades into the next;
// both hold the same samples there, so that together they are the sound itself. What is not there yet is silence: the
// other channels do not wait for it, and once it is there it comes in where the song is by then.

const HEADER = 44; // bytes of the WAV file before its samples
const FULL = 32767;
const AHEAD = 0.06; // seconds between an order and its first frame
const LATE = 0.02; // what begins earlier than this from now cannot be met
const FILLED = 1; // seconds for which pieces are started in advance
const PIECE = 0.5; // seconds, at most
const LEAST = 0.2; // seconds that must be there for it to come in again
const FADE = 0.008; // seconds in which a piece goes over into the next
const LOOK = 100; // ms between two looks at what can be started
const PEAKS = 100; // pairs of least and greatest sample in a second, for drawing
const COARSE = 16; // as in draw.js

/** A sound of the session's length that is filled from its beginning on; read like an AudioBuffer. */
export class GrowingSound {
  constructor(rate, frames) {
    this.sampleRate = rate;
    this.length = frames;
    this.filled = 0; // frames that are there
    this.data = [new Float32Array(frames)];
    this.sources = new Set();
    this.changed = () => {};
    this.block = Math.max(1, Math.round(rate / PEAKS));
    const blocks = Math.ceil(frames / this.block);
    this.peaks = { fine: new Float32Array(2 * blocks), coarse: new Float32Array(2 * Math.ceil(blocks / COARSE)), rate: rate / this.block };
  }

  get numberOfChannels() {
    return this.data.length;
  }

  getChannelData(channel) {
    return this.data[channel];
  }

  /** Take in a WAV file of 16 bits as it comes. reader: of a stream of bytes. */
  async read(reader) {
    let rest = new Uint8Array(0);
    let block = 0; // bytes of a frame; 0 before the header
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const bytes = new Uint8Array(rest.length + value.length);
      bytes.set(rest);
      bytes.set(value, rest.length);
      let from = 0;
      if (!block && bytes.length >= HEADER) {
        const channels = new DataView(bytes.buffer).getUint16(22, true);
        while (this.data.length < channels) this.data.push(new Float32Array(this.length));
        block = 2 * channels;
        from = HEADER;
      }
      const frames = block ? Math.floor((bytes.length - from) / block) : 0;
      if (frames) this.#add(new DataView(bytes.buffer, from, frames * block), frames);
      rest = bytes.slice(from + frames * block);
    }
  }

  #add(bytes, count) {
    const channels = this.data.length;
    const frames = Math.min(count, this.length - this.filled);
    for (let i = 0, at = 0; i < frames; i++)
      for (let c = 0; c < channels; c++, at += 2) {
        const value = bytes.getInt16(at, true) / FULL;
        this.data[c][this.filled + i] = value;
        this.#peak(this.filled + i, value);
      }
    this.filled += frames;
    for (const source of this.sources) source.fill();
    this.changed();
  }

  #peak(frame, value) {
    const block = Math.floor(frame / this.block);
    for (const [row, at] of [[this.peaks.fine, 2 * block], [this.peaks.coarse, 2 * Math.floor(block / COARSE)]]) {
      if (value < row[at]) row[at] = value;
      if (value > row[at + 1]) row[at + 1] = value;
    }
  }

  source(context) {
    return new GrowingSource(context, this);
  }
}

/** Plays a growing sound; used like an AudioBufferSourceNode. */
class GrowingSource {
  constructor(context, sound) {
    this.context = context;
    this.sound = sound;
    this.rate = sound.sampleRate;
    this.out = new GainNode(context);
    this.pieces = new Set();
    this.loop = false;
    this.loopStart = this.loopEnd = 0; // seconds
    this.onended = null;
  }

  connect(node) {
    return this.out.connect(node);
  }

  start(when, offset) {
    this.clock = Math.round(when * this.rate); // frame of the context at which the next piece begins
    this.at = Math.round(offset * this.rate); // and which of the song that is
    this.smooth = false; // whether the next piece fades in
    this.timer = setInterval(() => this.fill(), LOOK);
    this.sound.sources.add(this);
    this.fill();
  }

  stop(when) {
    clearInterval(this.timer);
    this.sound.sources.delete(this);
    for (const piece of this.pieces) piece.stop(when);
    setTimeout(() => this.onended?.(), 1000 * Math.max(0, when - this.context.currentTime) + 50);
  }

  /** Start all that is there and has its turn soon. */
  fill() {
    const { rate, sound } = this;
    const fade = Math.round(FADE * rate);
    const first = Math.round(this.loopStart * rate);
    const end = this.loop ? Math.min(sound.length, Math.round(this.loopEnd * rate)) : sound.length;
    const now = this.context.currentTime;
    for (;;) {
      if (this.clock < (now + LATE) * rate) this.#skip(Math.ceil((now + AHEAD) * rate) - this.clock, first, end);
      if (this.at >= end && !this.loop) return;
      if (this.clock > (now + FILLED) * rate) return;
      const count = Math.min(end, sound.filled, this.at + Math.round(PIECE * rate)) - this.at;
      const last = this.at + count === end;
      if (count <= 0 || (!last && count < (this.late ? LEAST * rate : 2 * fade))) return;
      this.#piece(count, this.smooth ? fade : 0, last ? 0 : fade);
      this.late = false;
      this.smooth = !last;
      const on = last ? count : count - fade;
      this.clock += on;
      this.at += on;
      if (last && this.loop) this.at = first;
    }
  }

  /** What was not there in time is left out. */
  #skip(frames, first, end) {
    this.clock += frames;
    this.at += frames;
    if (this.loop && this.at >= end) this.at = first + ((this.at - first) % (end - first));
    this.late = this.smooth = true;
  }

  #piece(count, fadeIn, fadeOut) {
    const channels = this.sound.numberOfChannels;
    const buffer = new AudioBuffer({ length: count, numberOfChannels: channels, sampleRate: this.rate });
    for (let c = 0; c < channels; c++) {
      const data = this.sound.getChannelData(c).slice(this.at, this.at + count);
      for (let i = 0; i < fadeIn; i++) data[i] *= (i + 0.5) / fadeIn;
      for (let i = 0; i < fadeOut; i++) data[count - fadeOut + i] *= 1 - (i + 0.5) / fadeOut;
      buffer.copyToChannel(data, c);
    }
    const piece = new AudioBufferSourceNode(this.context, { buffer });
    piece.connect(this.out);
    piece.onended = () => this.pieces.delete(piece);
    this.pieces.add(piece);
    piece.start(this.clock / this.rate);
  }
}
