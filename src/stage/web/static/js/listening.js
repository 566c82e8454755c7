// Listening to a take while it is made: it plays from its growing sound, and once it is there from its file.

import * as api from "./api.js";
import { GrowingSound } from "./growing.js";

export const MADE = "made"; // channel of a take whose track is not there yet

/** The track that the take belongs to that a job makes now; null where it will be a new one. */
export function trackOf(job, tracks) {
  const name = job.do === "band" ? null : (job.track ?? job.result?.track);
  return tracks.find((track) => track.name === name) ?? null;
}

/** Begin to fetch the take that a job makes now. onError: called where that is not possible. */
export function begin(job, track, rate, frames, onError) {
  const control = new AbortController();
  const sound = new GrowingSound(rate, frames);
  api
    .stream(`/api/jobs/${job.id}/audio?take=${job.live}`, control.signal)
    .then((reader) => sound.read(reader))
    .catch((error) => {
      if (!control.signal.aborted && error.status !== 404) onError(error); // 404: it is there already
    });
  return { job: job.id, number: job.live, track: track?.name ?? null, take: null, sound, stop: () => control.abort() };
}

/** Note the name of the take where a job has it by now. */
export function learn(listening, job) {
  if (listening?.job === job.id) listening.take = job.result?.takes?.[listening.number - 1] ?? listening.take;
}
