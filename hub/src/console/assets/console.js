// The page: who is signed in, what is shown, what a tap does. It reads again only what the hub says has changed.

import { Refused, get, list, listen, post, signIn, signOut } from "./api.js";
import { age, byId, clockSaid, clockTime, fill, growAll, make, now } from "./paint.js";
import * as views from "./views.js";

// Ages, connections and clock are read this often though nothing changed.
const STATUS_EVERY_MS = 5000;
// A topic is read again at most this often, however fast it changes.
const READ_EVERY_MS = 1500;
const SHOWN_MAX = 200;
const ERP_SILENCE_MAX_MS = 300000;

const held = { figures: [], recon: [], settled: [], cases: [], done: [], dispatches: [], left: [], letters: [], leases: [], quarantine: [], devices: [], sources: [], status: null, ready: null };
let session = null;
let name = "";

// An age grows by itself in the page, so that a card changes only when something else does.
const ageless = ({ age_ms, ...rest }) => ({ ...rest, ageless: age_ms === null });
const dispatches = (over) => list(`/v1/dispatches?over=${over}`).then((all) => all.map((d) => ({ ...d, facts: d.facts.map(ageless) })));
// Where both sides agreed from the start there is little to see.
const isDifference = (item) => Number(item.row !== null);
const topics = {
  recon: async () => ({ recon: await list("/v1/recon?open=true") }),
  // Who sees some depots only gets no figures of all of them.
  figures: async () => ({ figures: await get("/v1/recon/figures").then((told) => told.items).catch((no) => { if (no.status === 403) return []; throw no; }) }),
  settled: async () => ({ settled: (await list("/v1/recon?open=false")).sort((a, b) => isDifference(b) - isDifference(a) || b.closed - a.closed).slice(0, SHOWN_MAX) }),
  cases: async () => ({ cases: await list("/v1/cases?over=false") }),
  done: async () => ({ done: (await list("/v1/cases?over=true")).sort((a, b) => b.view.opened_at - a.view.opened_at).slice(0, SHOWN_MAX) }),
  dispatches: async () => ({ dispatches: await dispatches(false) }),
  left: async () => ({ left: (await dispatches(true)).reverse().slice(0, SHOWN_MAX) }),
  letters: async () => ({ letters: await list("/v1/dead-letters") }),
  quarantine: async () => ({ quarantine: (await get("/v1/quarantine")).items }),
  leases: async () => ({ leases: await list("/v1/leases") }),
  status: async () => {
    const [status, ready, devices, sources] = await Promise.all([get("/v1/status"), get("/readyz"), list("/v1/devices"), get("/v1/sources")]);
    clockSaid(status.now);
    return { status, ready, devices: devices.map(({ silent_ms, ...rest }) => rest), sources: sources.items.map(({ age_ms, ...rest }) => rest) };
  },
};
// What a change at the hub means for this page; closed lists are read when they are opened.
const concerned = {
  dispatches: ["dispatches", "left"], cases: ["cases", "done"], recon: ["recon", "settled", "figures"], queue: ["letters", "quarantine"],
  devices: ["status"], sources: ["status"], leases: ["leases"],
};
const folded = { settled: "settled", done: "done", left: "left" };
const isShown = (topic) => !(topic in folded) || byId(folded[topic]).open;

const reads = new Map();
function read(topic) {
  if (!session || !isShown(topic)) return;
  const state = reads.get(topic) ?? { busy: false, again: false, at: -READ_EVERY_MS };
  reads.set(topic, state);
  if (state.busy) { state.again = true; return; }
  state.busy = true;
  const mine = session;
  setTimeout(async () => {
    state.at = performance.now();
    try {
      const found = await topics[topic]();
      if (mine === session) { Object.assign(held, found); failed.delete(topic); paint(topic); }
    } catch (problem) {
      if (mine === session) fail(topic, problem);
    }
    state.busy = false;
    if (state.again) { state.again = false; read(topic); }
  }, Math.max(0, state.at + READ_EVERY_MS - performance.now()));
}
const readAll = () => Object.keys(topics).forEach(read);

// Whatever could not be read is said, since old values look like new ones.
const failed = new Map();
let lineLost = null;
let lineUp = false;
function fail(topic, problem) {
  if (problem instanceof Refused && problem.status === 401) { leave(problem.message); return; }
  failed.set(topic, problem.message);
  paintStale();
}
function paintStale() {
  if (held.status) paintHead();
  const reasons = new Set(failed.values());
  if (lineLost) reasons.add(lineLost);
  byId("stale").hidden = reasons.size === 0;
  byId("stale").textContent = reasons.size ? `This page is not up to date: ${[...reasons].join("; ")}` : "";
}

const filter = { site: "", text: "" };
function wanted(item) {
  const site = item.view?.site ?? item.site;
  if (filter.site && site !== filter.site) return false;
  return !filter.text || JSON.stringify(item).toLowerCase().includes(filter.text);
}
const bySeverity = (a, b) => a.view.severity < b.view.severity ? -1 : a.view.severity > b.view.severity ? 1 : a.view.opened_at - b.view.opened_at;
const byNeed = (a, b) => Math.sign(b.choices.length) - Math.sign(a.choices.length) || a.opened - b.opened;
const single = (id, items, view, empty) => fill(byId(id), items.length ? [items] : [], () => "table", view, empty);
const byDecision = (item) => item.decision;
const byName = (item) => item.id;
const count = (id, n) => { byId(id).textContent = n ? String(n) : ""; };

// A list under the filter. That nothing matches must not read as if there were nothing.
function some(id, all, order, keyOf, view, empty) {
  const items = all.filter(wanted);
  fill(byId(id), order ? items.sort(order) : items, keyOf, (item) => view(item, does), all.length ? `None of ${all.length} matches what is to be shown.` : empty);
}
const paints = {
  recon: () => some("recon-list", held.recon, byNeed, byDecision, views.reconCard, "Nothing is open: what the depots did and what the ERP says agree."),
  figures: () => single("figure-list", held.figures, views.figureTable, "Nothing was decided yet."),
  settled: () => some("settled-list", held.settled, null, byDecision, views.reconCard, "Nothing yet."),
  cases: () => some("case-list", held.cases, bySeverity, byName, views.caseCard, "No case is open."),
  done: () => some("done-list", held.done, null, byName, views.caseCard, "Nothing yet."),
  dispatches: () => {
    some("dispatch-list", held.dispatches, null, byName, views.dispatchCard, "No dispatch is waiting or at a dock.");
    fill(byId("alarms"), held.dispatches.filter((d) => d.view.stop_departure).map(({ id, view }) => ({ id, view })), byName, views.stopAlarm, "");
    byId("alarms").hidden = !held.dispatches.some((d) => d.view.stop_departure);
  },
  left: () => some("left-list", held.left, null, byName, views.dispatchCard, "Nothing yet."),
  letters: () => fill(byId("letter-list"), held.letters, (l) => l.posting.key, (l) => views.letterCard(l, does), "None: everything posted was taken, or is being tried."),
  quarantine: () => single("quarantine-list", held.quarantine, views.quarantineTable, "Nothing: everything could be read."),
  leases: () => single("lease-list", held.leases.filter((row) => !filter.site || row.lease.site === filter.site), views.leaseTable, "None was granted."),
  status: () => {
    single("device-list", held.devices, views.deviceTable, "No device may speak yet: add one with gatehouse-hub devices add.");
    fill(byId("source-list"), [held.sources], () => "table", views.sourceTable, "");
  },
};
function paint(topic) {
  paints[topic]();
  if (topic === "dispatches" || topic === "cases" || topic === "status") paintSites();
  count("recon-count", held.recon.length);
  count("cases-count", held.cases.length);
  count("dispatches-count", held.dispatches.length);
  count("letters-count", held.letters.length);
  count("quarantine-count", held.status?.counts.quarantined);
  const settled = Object.entries(held.status?.counts.recon ?? {}).filter(([outcome]) => outcome !== "open");
  byId("settled-count").textContent = settled.map(([outcome, n]) => `${n} ${outcome.replaceAll("_", " ")}`).join(", ");
  paintStale();
}

function paintHead() {
  const { status, ready, devices, sources } = held;
  byId("hub").textContent = status.hub === "hub" ? "Gatehouse hub" : `Gatehouse hub ${status.hub}`;
  byId("who-name").textContent = `Signed in as ${status.you.name} (${(status.you.role ?? "program").replaceAll("_", " ")}).`;
  paintTime();
  const erp = sources.find((s) => s.source === "erp");
  const silent = !erp || status.now - erp.at > ERP_SILENCE_MAX_MS;
  const cut = devices.filter((d) => !d.connected).map((d) => d.device);
  const { in_doubt: doubt, queued, dead } = { in_doubt: 0, queued: 0, dead: 0, ...status.counts.postings };
  const lines = [
    { colour: lineUp ? "good" : "bad", text: `This page: ${lineUp ? "live" : lineLost ? "not connected" : "connecting"}` },
    ...ready.checks.filter((c) => c.name !== "erp").map((c) => ({ colour: c.ok ? "good" : "bad", text: `${c.name}: ${c.detail}` })),
    status.erp ? { colour: silent ? "bad" : "good", text: `ERP (${status.erp}): `, at: erp?.at ?? null } : { colour: "wait", text: "ERP: none is configured" },
    { colour: cut.length ? "bad" : "good", text: `Devices: ${devices.length - cut.length} of ${devices.length} connected${cut.length ? `, not ${cut.join(", ")}` : ""}` },
    { colour: dead ? "bad" : doubt ? "wait" : "soft", text: `Postings at the ERP: ${queued} wait, ${doubt} in doubt, ${dead} parked for a person` },
  ];
  fill(byId("lines"), lines, (line) => line.text.split(":")[0], (line) => make("li", line.colour, line.text, line.at === undefined ? null : line.at === null ? "never heard" : "last heard ", line.at ? age(line.at) : null), "");
}
function paintTime() {
  if (!held.status) return;
  byId("time").textContent = clockTime(now()) + (held.status.clock ? ` - pretend clock: ${held.status.clock}` : "");
}
function paintSites() {
  const sites = new Set([...held.dispatches, ...held.cases].map((item) => item.view.site).concat(held.devices.flatMap((d) => d.sites)));
  const select = byId("filter-site");
  const options = ["", ...[...sites].sort()];
  if (options.join() === [...select.options].map((o) => o.value).join()) return;
  select.replaceChildren(...options.map((site) => {
    const option = make("option", "", site || "all");
    option.value = site;
    return option;
  }));
  select.value = sites.has(filter.site) ? filter.site : "";
  filter.site = select.value;
}

// What a tap does. Each asks for name and PIN: whoever decides need not be who is signed in.
const does = {
  choose: (item, choice, text) => tap({ title: text, text: `${views.title(item)}: your choice is posted at the ERP and kept with your name and reason.`, path: `/v1/recon/${encodeURIComponent(item.decision)}/choice`, body: { choice }, topic: "recon" }),
  confirm: (item) => tap({ title: `Confirm: ${views.choiceWords(item, item.proposed.choice)}`, text: `${views.title(item)}: ${item.proposed.by} proposed it: ${item.proposed.reason}. With your name as well it is posted at the ERP.`, path: `/v1/recon/${encodeURIComponent(item.decision)}/confirm`, body: {}, topic: "recon" }),
  refuse: (item) => tap({ title: `Refuse: ${views.choiceWords(item, item.proposed.choice)}`, text: `${views.title(item)}: it can be chosen anew then.`, path: `/v1/recon/${encodeURIComponent(item.decision)}/refuse`, body: {}, topic: "recon" }),
  cancel: (d) => tap({ title: `Cancel the dispatch of ${d.view.order}`, text: `Its depot asks for it: ${d.view.cancel_asked.why}. Nothing more leaves for it; the order stays as it is in the ERP, and its next version is planned anew.`, path: `/v1/dispatches/${d.id}/cancellation/accept`, body: {}, topic: "dispatches" }),
  declineCancel: (d) => tap({ title: `Do not cancel the dispatch of ${d.view.order}`, text: "It goes on. Its depot reads why.", path: `/v1/dispatches/${d.id}/cancellation/decline`, body: {}, topic: "dispatches" }),
  lift: (d) => tap({ title: `Lift the hold on ${d.view.order}`, text: `${d.view.holds.map((h) => h.why).join(". ")}. It may leave then, once its depot finds all gates met. What is about quality, safety or customs, or rests on a case of severity S1, waits for a second person.`, path: `/v1/dispatches/${d.id}/lift`, body: {}, topic: "dispatches" }),
  confirmLift: (d) => tap({ title: `Confirm: lift the hold on ${d.view.order}`, text: `${d.lift_proposed.by} proposed it: ${d.lift_proposed.reason}. With your name as well the hold is lifted.`, path: `/v1/dispatches/${d.id}/lift/confirm`, body: {}, topic: "dispatches" }),
  refuseLift: (d) => tap({ title: `Refuse: lift the hold on ${d.view.order}`, text: "The hold stands. It can be proposed anew.", path: `/v1/dispatches/${d.id}/lift/refuse`, body: {}, topic: "dispatches" }),
  replay: (letter) => tap({ title: `Try ${letter.posting.kind.replaceAll("_", " ")} for ${letter.posting.order} again`, text: "Say what was put right.", path: `/v1/dead-letters/${encodeURIComponent(letter.posting.key)}/replay`, body: {}, topic: "letters" }),
  correct: (letter) => tap({ title: `Correct ${letter.posting.kind.replaceAll("_", " ")} for ${letter.posting.order}`, text: "It stays parked; try it again then. Its key, order and kind stay as they are.", path: `/v1/dead-letters/${encodeURIComponent(letter.posting.key)}/correct`, body: {}, topic: "letters",
    fields: [...(letter.posting.line ? [{ name: "quantity", label: "Units", number: true, value: letter.posting.quantity }] : []), { name: "text", label: "Words for people at the ERP", value: letter.posting.text }] }),
  booked: (letter) => tap({ title: `${letter.posting.kind.replaceAll("_", " ")} for ${letter.posting.order} was booked by hand`, text: "It is never sent then, and postings behind it go on.", path: `/v1/dead-letters/${encodeURIComponent(letter.posting.key)}/booked`, body: {}, topic: "letters",
    fields: [{ name: "document", label: "The ERP's name of the document", required: true, value: "" }] }),
  move: async (c) => {
    try {
      const { moves } = await get(`/v1/cases/${c.id}`);
      tap({ title: c.view.summary, text: "Where does the case go?", path: `/v1/cases/${c.id}/move`, body: {}, moves, topic: "cases" });
    } catch (problem) {
      fail("cases", problem);
    }
  },
  postings: (decision) => get(`/v1/recon/${encodeURIComponent(decision)}`).then((detail) => detail.postings),
  decisions: (id) => get(`/v1/dispatches/${id}`).then((detail) => detail.decisions),
};

let asked = null;
let saidUntil = 0;
function tap(what) {
  asked = what;
  byId("tap-title").textContent = what.title;
  byId("tap-text").textContent = what.text;
  byId("tap-problem").textContent = "";
  byId("tap-name").value = name;
  byId("tap-pin").value = "";
  byId("tap-reason").value = "";
  byId("tap-to-label").hidden = !what.moves;
  byId("tap-fields").replaceChildren(...(what.fields ?? []).map((field) => {
    const input = make("input");
    input.name = field.name;
    input.value = field.value ?? "";
    input.required = Boolean(field.required);
    if (field.number) { input.type = "number"; input.min = "0"; input.step = "1"; }
    return make("label", "", `${field.label} `, input);
  }));
  const whom = ["carrier", "customer", "erp", "approval", "parts", "connectivity"];
  const places = (what.moves ?? []).flatMap((to) => to === "waiting" ? whom.map((w) => `waiting/${w}`) : [to]);
  byId("tap-to").replaceChildren(...places.map((to) => {
    const option = make("option", "", to.replaceAll("_", " ").replace("/", " for "));
    option.value = to;
    return option;
  }));
  byId("tap").showModal();
  byId("tap-pin").focus();
}
byId("tap-cancel").addEventListener("click", () => byId("tap").close());
byId("tap-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const what = asked;
  const body = { ...what.body, reason: byId("tap-reason").value };
  if (what.moves) {
    const [to, whom] = byId("tap-to").value.split("/");
    body.to = to;
    if (whom) body.waits_for = whom;
  }
  for (const field of what.fields ?? []) {
    const said = byId("tap-fields").querySelector(`[name="${field.name}"]`).value;
    // What was not changed is left as it is.
    if (field.required || said !== String(field.value ?? "")) body[field.name] = field.number ? Number(said) : said;
  }
  byId("tap-problem").textContent = "Asking...";
  byId("tap-do").disabled = true;
  try {
    const said = await post(what.path, body, byId("tap-name").value, byId("tap-pin").value);
    byId("tap").close();
    byId("said").textContent = said.done;
    clearTimeout(saidUntil);
    saidUntil = setTimeout(() => { byId("said").textContent = ""; }, 6000);
    read(what.topic);
  } catch (problem) {
    byId("tap-problem").textContent = problem.message;
  } finally {
    byId("tap-pin").value = "";
    byId("tap-do").disabled = false;
  }
});

function enter() {
  session = new AbortController();
  byId("sign-in").hidden = true;
  byId("console").hidden = false;
  byId("who").hidden = false;
  readAll();
  listen({
    changed: (what) => new Set(what.flatMap((topic) => concerned[topic] ?? [])).forEach(read),
    // Whatever changed while nobody listened is read now.
    opened: () => { lineLost = null; lineUp = true; paintStale(); readAll(); },
    lost: (problem) => {
      if (problem instanceof Refused && problem.status === 401) { leave(problem.message); return; }
      lineUp = false;
      lineLost = `the line to the hub is lost (${problem.message}) and is tried again`;
      paintStale();
    },
  }, session.signal);
}
function leave(why) {
  session?.abort();
  session = null;
  signOut();
  lineLost = null;
  lineUp = false;
  failed.clear();
  reads.clear();
  // Nothing that one person may see stays for the next.
  for (const topic of Object.keys(topics)) if (Array.isArray(held[topic])) held[topic] = [];
  Object.assign(held, { devices: [], sources: [], status: null, ready: null });
  for (const id of ["recon-list", "figure-list", "settled-list", "case-list", "done-list", "dispatch-list", "left-list", "letter-list", "lease-list", "quarantine-list", "device-list", "source-list", "alarms", "lines"]) fill(byId(id), [], byName, null, "");
  byId("tap").close();
  byId("time").textContent = "";
  byId("stale").hidden = true;
  byId("console").hidden = true;
  byId("who").hidden = true;
  byId("sign-in").hidden = false;
  byId("sign-in-problem").textContent = why ?? "";
  byId("sign-in-name").focus();
}
byId("sign-in-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  name = byId("sign-in-name").value;
  byId("sign-in-problem").textContent = "Asking...";
  signIn(name, byId("sign-in-pin").value);
  byId("sign-in-pin").value = "";
  try {
    await get("/v1/status");
    byId("sign-in-problem").textContent = "";
    enter();
  } catch (problem) {
    signOut();
    byId("sign-in-problem").textContent = problem.message;
  }
});
byId("sign-out").addEventListener("click", () => leave());

for (const topic of Object.values(folded)) byId(topic).addEventListener("toggle", () => read(topic));
function filtered() {
  filter.site = byId("filter-site").value;
  filter.text = byId("filter-text").value.trim().toLowerCase();
  for (const topic of ["recon", "settled", "cases", "done", "dispatches", "left", "leases"]) paints[topic]();
}
byId("filter").addEventListener("input", filtered);
byId("filter").addEventListener("submit", (event) => event.preventDefault());
setInterval(() => read("status"), STATUS_EVERY_MS);
setInterval(() => { growAll(); paintTime(); }, 1000);
leave();
