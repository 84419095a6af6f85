// Speaks with the hub: asks, changes, listens. Knows nothing of the page.

// The server says at least every 15 s that it is there; a line that is silent this long is gone.
const SILENCE_MAX_MS = 40000;
const ANSWER_MAX_MS = 15000;
const RETRY_MAX_MS = 15000;
// A page of more would be read by nobody; what is beyond is counted by the hub and not shown.
const ITEMS_MAX = 3000;

let login = null;

function basic(name, pin) {
  const bytes = new TextEncoder().encode(`${name}:${pin}`);
  return `Basic ${btoa(String.fromCharCode(...bytes))}`;
}

// The hub said no, and why.
export class Refused extends Error {
  constructor(status, problem) {
    super(problem?.detail ?? `the hub answered ${status}`);
    this.status = status;
  }
}

export function signIn(name, pin) { login = basic(name, pin); }
export function signOut() { login = null; }

async function ask(path, options) {
  const answer = await fetch(path, { credentials: "omit", cache: "no-store", signal: AbortSignal.timeout(ANSWER_MAX_MS), ...options });
  const said = await answer.json().catch(() => null);
  // A 503 of /readyz is an answer as well: it says what is missing.
  if (!answer.ok && !said?.checks) throw new Refused(answer.status, said);
  if (said === null) throw new Error("the hub's answer cannot be read");
  return said;
}

export function get(path) {
  return ask(path, { headers: login ? { authorization: login } : {} });
}

// All parts of a list.
export async function list(path) {
  const items = [];
  let after = null;
  do {
    const address = new URL(path, location.origin);
    address.searchParams.set("limit", "500");
    if (after) address.searchParams.set("after", after);
    const page = await get(address.pathname + address.search);
    items.push(...page.items);
    after = page.next ?? null;
  } while (after && items.length < ITEMS_MAX);
  return items;
}

// Changes something in the name of the person who gave name and PIN just now.
export function post(path, body, name, pin) {
  return ask(path, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: basic(name, pin) },
    body: JSON.stringify(body),
  });
}

// Listens for changes until `signal` ends it, and begins again whenever the line is lost.
// EventSource cannot send a login, so the events are read by hand.
export async function listen(on, signal) {
  let wait = 1000;
  while (!signal.aborted) {
    const line = new AbortController();
    const end = () => line.abort();
    signal.addEventListener("abort", end);
    let guard = setTimeout(end, SILENCE_MAX_MS);
    try {
      const answer = await fetch("/v1/live", { credentials: "omit", cache: "no-store", headers: { authorization: login }, signal: line.signal });
      if (!answer.ok) throw new Refused(answer.status, await answer.json().catch(() => null));
      wait = 1000;
      on.opened();
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) throw new Error("the hub ended the line");
        clearTimeout(guard);
        guard = setTimeout(end, SILENCE_MAX_MS);
        const blocks = (text + value).split("\n\n");
        text = blocks.pop();
        blocks.forEach((block) => tell(block, on));
      }
    } catch (problem) {
      if (!signal.aborted) on.lost(problem);
    } finally {
      clearTimeout(guard);
      signal.removeEventListener("abort", end);
      line.abort();
    }
    await new Promise((done) => setTimeout(done, wait));
    wait = Math.min(wait * 2, RETRY_MAX_MS);
  }
}

function tell(block, on) {
  const fields = block.split("\n").map((line) => line.split(/: ?(.*)/s));
  const event = fields.find(([name]) => name === "event")?.[1];
  const data = fields.filter(([name]) => name === "data").map(([, value]) => value).join("\n");
  if (event === "changed") on.changed(JSON.parse(data).what);
}
