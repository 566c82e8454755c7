// Where the page begins: which session is open stands in the address.

import * as api from "./api.js";
import { Dialogs, askToken } from "./dialogs.js";
import { listenToKeys } from "./keys.js";
import { SessionPage } from "./session.js";
import { StartPage } from "./start.js";
import { changed, open, set, shut, state, subscribe, view } from "./store.js";
import { html, render } from "../vendor/preact.js";

function App() {
  return html`
    ${state.id ? html`<${SessionPage} key=${state.id} />` : html`<${StartPage} />`}
    <${Dialogs} />
  `;
}

function route() {
  const found = /^#s\/([\w-]+)$/.exec(location.hash);
  if (found) open(found[1]);
  else if (state.id) shut();
  document.title = "STAGE";
}

api.onToken(askToken);
window.addEventListener("hashchange", route);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  document.dispatchEvent(new Event("colors"));
  view.ask();
});
// after a click with the pointer the keys are the page's again, not the button's
document.addEventListener("click", (event) => {
  const pressed = event.target.closest?.("button, summary, input[type=range], input[type=checkbox]");
  if (event.detail > 0 && pressed && pressed === document.activeElement && !pressed.closest("dialog")) pressed.blur();
});
listenToKeys();
route();
const draw = () => render(html`<${App} />`, document.getElementById("app"));
subscribe(draw); // before anything is fetched, so that no change is missed
draw();
api.get("/api/models").then((models) => set({ models }), () => changed());
