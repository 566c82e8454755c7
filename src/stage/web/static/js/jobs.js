// What is being made: one line for each, with the time that is left, and what stops it.

import { IconButton, Problem, Progress } from "./parts.js";
import { cancel, state } from "./store.js";
import { left } from "./time.js";
import { html } from "../vendor/preact.js";

export function JobList() {
  const jobs = [...state.jobs.values()].filter((job) => job.do !== "export");
  if (!jobs.length) return null;
  return html`<section class="jobs" aria-label="Being made" aria-live="polite"><ul>${jobs.map((job) => html`<${JobLine} key=${job.id} job=${job} />`)}</ul></section>`;
}

export function JobLine({ job }) {
  const failed = job.state === "failed";
  return html`<li class=${`job ${failed ? "failed" : ""}`}>
    <span class="job-title">${job.title}</span>
    ${failed
      ? html`<span class="problem" role="alert">${job.error}</span>`
      : html`<${Progress} share=${job.share} label=${job.title} /><span class="soft left" aria-live="off">${left(job)}</span>`}
    <${IconButton} icon="close" label=${failed ? "Dismiss" : `Cancel: ${job.title}`} tip=${failed ? "Dismiss" : "Cancel"} onClick=${() => cancel(job)} />
    <${Problem} at=${`job ${job.id}`} />
  </li>`;
}

export function PreparingJob() {
  const { session } = state;
  const job = [...state.jobs.values()][0];
  if (session.state === "failed")
    return html`<main class="waiting"><p class="big">${session.name}</p><p class="problem" role="alert">${session.error ?? "This song could not be prepared"}</p>
      <a class="main" href="#">Begin with another song</a></main>`;
  return html`<main class="waiting"><p class="big">${session.name}</p>
    <p aria-live="polite">Finding beats, chords and tuning…</p>
    <${Progress} share=${job?.share ?? 0} label="Finding beats, chords and tuning" />
    <p class="soft">${job ? left(job) : ""}</p>
    ${job && html`<button type="button" class="plain" onClick=${() => cancel(job).then(() => (location.hash = ""))}>Cancel</button>`}
    ${job && html`<${Problem} at=${`job ${job.id}`} />`}
    <${Problem} at="session" />
  </main>`;
}
