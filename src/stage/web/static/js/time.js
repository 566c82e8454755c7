// Bars, beats and seconds of a session.

/** [{bar, start, end}] of a session's time: bar 1 begins with the first downbeat, what lies before it is bar 0. */
export function barsOf(time, seconds) {
  const starts = [];
  time.times.forEach((at, i) => {
    if (time.numbers[i] === 1) starts.push(at);
  });
  const bars = starts.map((start, i) => ({ bar: i + 1, start, end: starts[i + 1] ?? seconds }));
  if (starts.length && starts[0] > 0.001) bars.unshift({ bar: 0, start: 0, end: starts[0] });
  if (bars.length > 1) {
    // a last downbeat so near to the end that no music follows is the end of the bar before, not a bar
    const last = bars[bars.length - 1];
    if (last.end - last.start < 0.05) {
      bars.pop();
      bars[bars.length - 1].end = seconds;
    }
  }
  return bars;
}

/** The first index of a rising list whose value is above x. */
export function above(list, x, of = (value) => value) {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (of(list[middle]) > x) high = middle;
    else low = middle + 1;
  }
  return low;
}

export function barAt(bars, at) {
  return bars[Math.max(0, above(bars, at + 1e-6, (bar) => bar.start) - 1)];
}

export function clock(seconds, tenths = false) {
  const whole = Math.max(0, seconds);
  const minutes = Math.floor(whole / 60);
  const rest = whole - 60 * minutes;
  const text = tenths ? (Math.floor(rest * 10) / 10).toFixed(1) : String(Math.floor(rest));
  return `${minutes}:${text.padStart(tenths ? 4 : 2, "0")}`;
}

/** "bar 5" or "bars 5 to 8". */
export function named(region) {
  if (region.first === undefined) return `${region.start.toFixed(1)} to ${region.end.toFixed(1)} s`;
  return region.first === region.last ? `bar ${region.first}` : `bars ${region.first}–${region.last}`;
}

/** How long a job still takes, in words. */
export function left(job) {
  if (job.state === "queued") return job.position > 0 ? `waiting, ${job.position} before it` : "waiting";
  if (job.left === null || job.left === undefined) return "";
  return job.left < 1 ? "nearly done" : `${Math.ceil(job.left)} s left`;
}
