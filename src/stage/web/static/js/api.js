// The server's API: every answer of it is JSON, a file, or one line that says what is wrong.

const KEY = "stage-token";
let token = sessionStorage.getItem(KEY);
let askForToken = () => Promise.resolve(null);

/** What asks the user for the token of a server that is not on this machine. */
export function onToken(ask) {
  askForToken = ask;
}

export class ApiError extends Error {
  constructor(message, status, code) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

async function request(method, path, { body, headers = {}, signal } = {}) {
  for (;;) {
    const all = { ...headers };
    if (token) all.Authorization = `Bearer ${token}`;
    if (method !== "GET") all["X-Stage"] = "1";
    let answer;
    try {
      answer = await fetch(path, { method, body, headers: all, signal });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError("The server does not answer: is `stage web` still running?", 0, "gone");
    }
    if (answer.status === 401) {
      const given = await askForToken(Boolean(token));
      if (given) {
        token = given;
        sessionStorage.setItem(KEY, given);
        continue;
      }
    }
    if (!answer.ok) {
      const said = await answer.json().catch(() => ({}));
      const text = typeof said.error === "string" ? said.error : `The server answered ${answer.status}`;
      throw new ApiError(text, answer.status, said.code);
    }
    return answer;
  }
}

export async function get(path, signal) {
  return (await request("GET", path, { signal })).json();
}

export async function send(method, path, body) {
  const headers = { "Content-Type": "application/json" };
  const answer = await request(method, path, { body: JSON.stringify(body ?? {}), headers });
  return answer.status === 204 ? null : answer.json();
}

/** Raw bytes of a recording, a File or a Blob. */
export async function upload(name, blob) {
  const headers = { "Content-Type": "application/octet-stream" };
  return (await request("POST", `/api/songs?name=${encodeURIComponent(name)}`, { body: blob, headers })).json();
}

export async function bytes(file, signal) {
  return (await request("GET", `/api/files/${file}`, { signal })).arrayBuffer();
}

export async function stream(path, signal) {
  return (await request("GET", path, { signal })).body.getReader();
}

export async function download(file, name) {
  const blob = await (await request("GET", `/api/files/${file}`)).blob();
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Events of a session until `stop` is called, over fetch (an EventSource cannot send a token); it connects anew, from
 * the event after the last one. on(event, data); onState(true or false): whether there is a connection. */
export function listen(session, on, onState) {
  const control = new AbortController();
  let last = null;
  const follow = async () => {
    const headers = last === null ? {} : { "Last-Event-ID": last };
    const answer = await request("GET", `/api/sessions/${session}/events`, { headers, signal: control.signal });
    onState(true);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const blocks = (rest + value.replaceAll("\r\n", "\n")).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const field = {};
        for (const line of block.split("\n")) {
          const found = /^(event|data|id): ?(.*)$/.exec(line);
          if (found) field[found[1]] = (found[1] in field ? field[found[1]] + "\n" : "") + found[2];
        }
        if (field.id !== undefined) last = field.id;
        if (field.data !== undefined) on(field.event ?? "message", JSON.parse(field.data));
      }
    }
  };
  (async () => {
    while (!control.signal.aborted) {
      try {
        await follow();
      } catch (error) {
        if (control.signal.aborted) return;
        if (error.status === 404 || error.status === 401) return onState(false, error);
      }
      onState(false);
      await new Promise((wake) => setTimeout(wake, 1000));
    }
  })();
  return () => control.abort();
}
