"use strict";
// Shows what /api/board says and fetches it again when /api/live says that something changed.
// Everything from outside is put in as text, never as markup.

const byId = (id) => document.getElementById(id);
function make(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  for (const child of children) node.append(child instanceof Node ? child : String(child ?? ""));
  return node;
}
function age(ms) {
  if (ms === null || ms === undefined) return "age unknown";
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 90) return `${s} s ago`;
  const m = Math.round(s / 60);
  if (m < 90) return `${m} min ago`;
  const h = Math.round(m / 60);
  return h < 48 ? `${h} h ago` : `${Math.round(h / 24)} days ago`;
}
const clockTime = (ms) => ms === null || ms === undefined ? "-" : new Date(ms).toISOString().replace("T", " ").slice(0, 19) + " UTC";
const words = (text) => String(text ?? "").replaceAll("_", " ");
const over = new Set(["resolved", "closed", "cancelled"]);
const left = new Set(["departed", "delivered", "exception_delivered", "settled", "cancelled", "aborted"]);

let fetching = false;
let again = false;
let shown = "";
async function refresh() {
  if (fetching) { again = true; return; }
  fetching = true;
  try {
    const answer = await fetch("/api/board", { credentials: "omit" });
    const board = await answer.json();
    if (!answer.ok) throw new Error(board.detail);
    byId("offline").hidden = true;
    paint(board);
  } catch (problem) {
    byId("offline").textContent = `This page is not up to date: ${problem.message}`;
    byId("offline").hidden = false;
  } finally {
    fetching = false;
    if (again) { again = false; setTimeout(refresh, 250); }
  }
}

function paint(board) {
  byId("site").textContent = `${board.site_name} - ${board.status.device}`;
  document.title = `${board.site_name} - Gatehouse`;
  byId("time").textContent = clockTime(board.now) + (board.clock ? ` - pretend clock: ${board.clock}` : "");
  paintLines(board);
  paintAlarms(board);
  const byDocument = new Map(board.cases.map((c) => [c.document, c]));
  fill("dispatch-list", board.dispatches.map((d) => dispatchCard(d, board, byDocument)), "No dispatch is known here yet.");
  const open = board.cases.filter((c) => !over.has(c.view.state));
  open.sort((a, b) => a.view.severity < b.view.severity ? -1 : a.view.severity > b.view.severity ? 1 : a.view.opened_at - b.view.opened_at);
  const done = board.cases.length - open.length;
  fill("case-list", open.map((c) => caseCard(c, board)).concat(done ? [make("p", "soft", `${done} more are done.`)] : []), "No case.");
  paintSources(board);
  fill("reading-list", board.readings.length ? [table(["Measured", "From", "What", "Id"],
    board.readings.map((r) => [age(board.now - r.at), r.source, reading(r.value), r.reading_id]))] : [], "Nothing has come in yet.");
  fill("quarantine-list", board.quarantine.length ? [table(["Came in", "From", "Why", "Bytes", "Begins with"],
    board.quarantine.map((q) => [age(board.now - q.at), q.topic, q.reason, q.size, q.head.slice(0, 80)]))] : [], "Nothing: everything could be read.");
}

function fill(id, nodes, empty) {
  byId(id).replaceChildren(...(nodes.length ? nodes : [make("p", "soft", empty)]));
}
function table(heads, rows) {
  const body = make("tbody", "", ...rows.map((row) => make("tr", "", ...row.map((cell) => make("td", "", cell)))));
  return make("table", "", make("thead", "", make("tr", "", ...heads.map((h) => make("th", "", h)))), body);
}
function reading(value) {
  return Object.entries(value).filter(([k, v]) => k !== "kind" && v !== null)
    .reduce((text, [k, v]) => `${text} ${words(k)} ${typeof v === "object" ? JSON.stringify(v) : v}`, words(value.kind) + ":");
}

function paintLines(board) {
  const line = (name, state, extra) => make("li", state.connected ? "good" : "bad",
    `${name}: ${state.connected ? "connected" : "not connected"} since ${clockTime(state.since)}`,
    state.trouble ? ` - ${state.trouble}` : "", extra);
  const items = [line("Broker", board.broker, board.broker.heard ? ` - last message ${age(board.now - board.broker.heard)}` : "")];
  const room = board.status.room;
  if (board.damaged.length) items.unshift(make("li", "bad", `The store is damaged: ${board.damaged.join(", ")}. Copy it and replace the disk.`));
  if (board.stuck) items.unshift(make("li", "bad", `NOTHING IS TAKEN IN: ${board.stuck}. What devices send waits at the broker.`));
  else if (room.is_full) items.unshift(make("li", "bad", `The store is nearly full: ${room.used_bytes >> 20} MiB used.`));
  if (board.broker.session_gone) items.push(make("li", "bad", "Broker: it had forgotten our session; what it received while we were away did not reach us. Set persistence and keep sessions."));
  if (board.broker.refused.length) items.push(make("li", "bad", `Broker refuses: ${board.broker.refused.join(", ")}`));
  if (board.hub.url) {
    items.push(line("Hub", board.hub, board.hub.heard ? ` - last answer ${age(board.now - board.hub.heard)}` : " - no answer yet"));
    if (board.status.line.cut_off) items.push(make("li", "wait", "Cut off: only what the lease allows is released."));
  } else items.push(make("li", "wait", "Hub: none is configured, this depot stands alone"));
  const lease = board.status.lease;
  items.push(lease
    ? make("li", "", `Lease ${lease.lease.id}: ${lease.used.value_minor} of ${lease.lease.value_ceiling_minor} used (minor units), until ${clockTime(lease.lease.expires_at)}`)
    : make("li", "wait", "Lease: none is held"));
  items.push(make("li", board.status.outbox || board.status.rejected ? "wait" : "soft",
    `Not yet reported to the hub: ${board.status.outbox}` + (board.status.rejected ? `, not let in: ${board.status.rejected}` : "")));
  const waiting = board.status.waiting;
  if (waiting.length) {
    const named = waiting.slice(0, 5).map((w) => `${w.kind} ${nameOf(w.document, board)} since ${clockTime(w.since)}`);
    items.push(make("li", board.waits_too_long ? "bad" : "wait",
      (board.waits_too_long ? "INCOMPLETE for too long, look at the hub: " : "Incomplete: ") +
      `${waiting.length} ${waiting.length === 1 ? "document waits" : "documents wait"} for changes that have not come: ` +
      named.join(", ") + (waiting.length > named.length ? " and more" : "")));
  }
  byId("lines").replaceChildren(...items);
}
// What people call a document; its number where nothing of it can be shown yet.
const nameOf = (id, board) => board.dispatches.find((d) => d.document === id)?.view.order ?? board.cases.find((c) => c.document === id)?.view.summary ?? id;

function paintAlarms(board) {
  const alarms = [];
  for (const drill of board.status.drills) {
    const text = make("div", "", make("strong", "", `DRILL: ${drill.source} counts as gone until ${clockTime(drill.until)}`),
      `Started by ${drill.by}: "${drill.reason}". What it sends is kept and taken when the drill ends; holds and recalls count as always.`);
    alarms.push(make("div", "alarm drill", text, button("End the drill", () => ask({ title: `End the drill without ${drill.source}`, text: "What it sent meanwhile is taken.", path: "/api/drills/stop", body: { source: drill.source } }))));
  }
  for (const d of board.dispatches) {
    if (d.view.stop_departure) {
      alarms.push(make("div", "alarm", make("div", "", make("strong", "", `STOP ${d.view.order}: vehicle ${d.view.vehicle} must not leave door ${d.view.door}`),
        why(d) + " Unload, or wait until the hold is lifted.")));
    }
    if (d.alarm) {
      const text = make("div", "", make("strong", "", `Release of ${d.view.order} was taken back`), `${d.alarm.why} (${age(board.now - d.alarm.at)})`);
      alarms.push(make("div", "alarm", text, button("Seen", () => ask({ title: `Release of ${d.view.order} was taken back`, text: d.alarm.why, path: `/api/dispatches/${d.document}/recall-seen` }))));
    }
  }
  for (const d of board.dispatches.filter((d) => d.asked && d.asked.until > board.now && !d.view.release)) {
    const text = make("div", "", make("strong", "", `${d.asked.who} asks to let ${d.view.order} leave`), `${d.asked.why}: "${d.asked.reason}". A second person may confirm until ${clockTime(d.asked.until)}.`);
    alarms.push(make("div", "alarm", text, button("Confirm", () => ask({ title: `Let ${d.view.order} leave`, text: `${d.asked.who} asks: "${d.asked.reason}". You confirm it with your own name; both names are kept.`, path: `/api/dispatches/${d.document}/confirm` }))));
  }
  // Repainting unchanged alarms would make a screen reader say them again and again.
  const now = JSON.stringify(board.status.drills) + JSON.stringify(board.dispatches.map((d) => [d.document, d.view.stop_departure, d.alarm, d.asked && d.asked.until > board.now && !d.view.release && d.asked]));
  if (now !== shown) { shown = now; byId("alarms").replaceChildren(...alarms); }
}
function why(d) {
  if (d.view.cancelled) return "The order was cancelled.";
  return d.view.holds.map((h) => `${h.why}.`).join(" ") || "The order changed.";
}
function button(text, action, className) {
  const node = make("button", className ?? "", text);
  node.type = "button";
  node.addEventListener("click", action);
  return node;
}

// Who wrote an entry: its key begins with kind, depot and device.
function writer(key) {
  const [kind, site, device] = key.split("/");
  return kind === "hub" ? "the hub" : kind === "vehicle" ? `${device}, a vehicle of ${site}` : `${device} at ${site}`;
}
// What an entry says, in a few words.
function saying(e) {
  const isHold = e.t === "held";
  const what = [e.t, isHold ? e.reason : null, e.to, e.owner, e.severity, e.carrier, e.mode, e.action].filter((word) => word !== null && word !== undefined).map(words).join(" ");
  const why = isHold ? e.why : e.why ?? e.reason;
  return why ? `${what} (${why})` : what;
}
// What two sides said apart and what became of it: what lost against others, what counts for nothing, what is missing.
// Views that an older program folded may lack a list.
function apart(item, board) {
  const v = item.view;
  const told = (title, colour) => ([key, reason]) => {
    const entry = item.lost?.[key];
    return make("div", colour, `${title}: ${entry ? `${saying(entry)}, said by ${entry.by} (${writer(key)}) ${age(board.now - entry.at)}` : `said by ${writer(key)}`}: ${reason}`);
  };
  const lines = [...(v.superseded ?? []).map(told("Superseded", "soft")), ...(v.void ?? []).map(told("Counts for nothing", "wait"))];
  if (v.unread?.length) lines.push(make("div", "wait", `This version cannot read ${v.unread.length} of its entries: ${v.unread.join(", ")}`));
  const waits = board.status?.waiting?.find((waits) => waits.document === item.document);
  if (waits) lines.push(make("div", "wait", `Changes that are here wait for others before them that are not, since ${age(board.now - waits.since)}`));
  return lines;
}

function dispatchCard(d, board, byDocument) {
  const v = d.view;
  const colour = v.stop_departure || v.left_under_stop || v.state === "held" ? "bad"
    : ["released", "loading", "loaded", "departed", "delivered", "settled"].includes(v.state) ? "good" : v.state === "planned" ? "wait" : "";
  const head = make("div", "head", make("h3", "", `${v.order}${v.occurrence > 1 ? ` (${v.occurrence})` : ""}`),
    make("span", `tag ${colour}`, words(v.state)));
  if (v.release) head.append(make("span", "tag", words(v.release.mode)));
  if (v.waits_for_upgrade) head.append(make("span", "tag bad", "waits for an upgrade"));
  if (v.left_under_stop) head.append(make("span", "tag bad", "left under stop"));
  head.append(make("span", "soft", `leaves ${clockTime(v.planned_departure)} - door ${v.door} - vehicle ${v.vehicle} - ${v.carrier}`));
  const card = make("article", `card ${colour}`, head);
  if (d.order) card.append(make("div", "soft", `${d.order.customer.name} (tier ${d.order.customer.tier}), order version ${v.order_version}`));
  card.append(make("div", "", v.load.map((l) => `${l.quantity} x ${l.product}`).join(", ")));
  for (const h of v.holds) card.append(make("div", "bad", `Hold (${words(h.reason)}): ${h.why}`));
  if (v.cancelled) card.append(make("div", "bad", "Cancelled"));
  if (v.cancel_asked && !v.cancelled && !left.has(v.state)) card.append(make("div", "wait", `The hub is asked to cancel it: ${v.cancel_asked.why}`));
  if (!left.has(v.state) && d.gates.length) card.append(make("ul", "gates", ...d.gates.map((g) => gate(g, board.now))));
  const cases = v.holds.flatMap((h) => h.cases).map((id) => byDocument.get(id)).filter(Boolean);
  for (const c of cases) card.append(make("div", "", `Case ${words(c.view.case_type)} ${c.view.severity}: ${c.view.summary}`));
  card.append(...apart(d, board));
  if (v.departed) card.append(make("div", "", `Left ${clockTime(v.departed.at)} with ${v.departed.load.map((l) => `${l.quantity} x ${l.product}`).join(", ")}`));
  if (v.proof) card.append(make("div", "", `Signed for by ${v.proof.signed_by ?? "nobody"} ${clockTime(v.proof.at)}: ${v.proof.lines.map(proofLine).join(", ")}`));
  const taps = make("div", "buttons");
  if (board.vehicle) {
    // What a vehicle's page may do; everything else is the depot's.
    if (board.vehicle === v.vehicle && v.departed) {
      taps.append(button(v.proof ? "Correct what was handed over" : "Hand over", () => ask({ title: `Hand over ${v.order}`,
        text: "Say what became of each line at its destination. Your name is kept with it.", path: `/api/dispatches/${d.document}/proof`, lines: v.departed.load, proof: v.proof })));
    }
    if (taps.childNodes.length) card.append(taps);
    return card;
  }
  if (["planned", "ready", "held"].includes(v.state) && !v.cancelled) {
    taps.append(button("Override", () => ask({ title: `Let ${v.order} leave`, text: "It leaves against what is not met above. Your name and reason are kept.", path: `/api/dispatches/${d.document}/override`, reason: true })));
  }
  if (!left.has(v.state)) {
    taps.append(button("Hold", () => ask({ title: `Hold ${v.order}`, text: "It may not leave until the hold is lifted.", path: `/api/dispatches/${d.document}/hold`, reason: true })));
  }
  if (!left.has(v.state) && !v.cancelled && !v.cancel_asked) {
    taps.append(button("Ask to cancel", () => ask({ title: `Ask to cancel the dispatch of ${v.order}`, text: "The hub is asked; until it answers, the dispatch goes on. Where the vehicle was away when the slot was over, the hub cancels it by itself.", path: `/api/dispatches/${d.document}/cancel`, reason: true })));
  }
  if (taps.childNodes.length) card.append(taps);
  return card;
}

const proofLine = (l) => `line ${l.line}: ${l.delivered} delivered` + (l.refused ? `, ${l.refused} refused` : "") + (l.damaged ? `, ${l.damaged} damaged` : "");
// One row of the form for each line that left, filled with what was told before, else with all of it delivered.
function proofRow(left, told) {
  const number = (name, value) => {
    const input = make("input");
    Object.assign(input, { type: "number", min: 0, max: 4294967295, step: 1, required: true, value });
    input.dataset.name = name;
    input.setAttribute("aria-label", `${name}, line ${left.line}`);
    return make("td", "", input);
  };
  const row = make("tr", "", make("td", "", `${left.quantity} x ${left.product}`),
    number("delivered", told?.delivered ?? left.quantity), number("refused", told?.refused ?? 0), number("damaged", told?.damaged ?? 0));
  row.dataset.line = left.line;
  return row;
}
async function proofBody() {
  const lines = [...byId("tap-lines").children].map((row) => {
    const line = { line: Number(row.dataset.line) };
    for (const input of row.querySelectorAll("input")) line[input.dataset.name] = Number(input.value);
    return line;
  });
  const file = byId("tap-photo").files[0];
  let photo = null;
  if (file) {
    if (!crypto.subtle) throw new Error("the fingerprint of a photo can only be made at https:// or on this machine; hand over without it");
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", await file.arrayBuffer()));
    photo = [...hash].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  }
  return { lines, signed_by: byId("tap-signed").value.trim() || null, photo };
}

function gate(g, now) {
  const colour = g.state === "pass" ? "good" : g.state === "fail" ? "bad" : "wait";
  const mark = g.state === "pass" ? "pass" : g.state === "fail" ? "FAIL" : "unknown";
  const said = (g.state === "fail" ? g.reason : g.state === "unknown" ? words(g.why) : "") + (g.fallback ? ` [rule ${g.fallback}]` : "");
  const inputs = g.inputs.map((i) => `${i.source} ${age(now - i.at)}`);
  const limit = g.inputs.length && g.limit_ms < 1e15 ? `, may be ${Math.round(g.limit_ms / 60000)} min old` : "";
  return make("li", "", make("span", `tag ${colour}`, mark), ` ${g.rule ?? words(g.gate)} `, said ? make("span", colour, said + " ") : "",
    inputs.length ? make("span", "soft", `(${[...new Set(inputs)].join("; ")}${limit})`) : "");
}

const moves = { open: "open", acknowledged: "acknowledged", in_progress: "in progress", "waiting/carrier": "waiting for the carrier", "waiting/customer": "waiting for the customer", "waiting/erp": "waiting for the ERP", "waiting/approval": "waiting for approval", "waiting/parts": "waiting for parts", resolved: "resolved", cancelled: "cancelled" };
// Which cases belong to this one, each by what it is about where it is known here.
function related(v, board) {
  const name = (id) => {
    const other = board.cases?.find((c) => c.document === id);
    return `case ${id.slice(0, 16)}${other ? ` (${other.view.summary}, ${words(other.view.state)})` : ""}`;
  };
  const lines = [];
  if (v.aliases?.length) lines.push(`Joined with ${v.aliases.map(name).join(", ")}: the same matter`);
  if (v.duplicate_of) lines.push(`The matter goes on in ${name(v.duplicate_of)}`);
  if (v.follows) lines.push(`Follows ${name(v.follows)}`);
  if (v.continued_in) lines.push(`Grew too long and goes on in ${name(v.continued_in)}`);
  return lines.map((line) => make("div", "soft", line));
}
function caseCard(c, board) {
  const v = c.view;
  const colour = v.severity === "S1" || v.severity === "S2" ? "bad" : "wait";
  const card = make("article", `card ${colour}`, make("div", "head", make("h3", "", v.summary), make("span", `tag ${colour}`, v.severity),
    make("span", "tag", words(v.case_type)), make("span", "tag", words(v.state)), make("span", "soft", `${words(v.owner)} - opened ${age(board.now - v.opened_at)}`)));
  if (v.waits_for_upgrade) card.append(make("div", "bad", "Waits for an upgrade: a newer program wrote it, and nothing is decided on it here"));
  if (v.actions.length) card.append(make("div", "", make("strong", "", `Recommended: ${v.actions[0]}`), v.actions.length > 1 ? make("span", "soft", ` - else ${v.actions.slice(1).join(", ")}`) : ""));
  if (v.resolve_by) card.append(make("div", v.resolve_by < board.now ? "bad" : "soft", `${v.acknowledged_at ? "" : `acknowledge by ${clockTime(v.acknowledge_by)}, `}resolve by ${clockTime(v.resolve_by)}`));
  if (v.watching_teams?.length) card.append(make("div", "soft", `Watched by ${v.watching_teams.map(words).join(", ")}, to whom the other side had given it`));
  card.append(...related(v, board), ...apart(c, board));
  card.append(make("div", "buttons", button("Move", () => ask({ title: v.summary, text: "Where does the case go?", path: `/api/cases/${c.document}/move`, reason: true, to: true }))));
  return card;
}

function paintSources(board) {
  const s = board.status;
  const count = (name) => s.counters[name] ?? 0;
  const rows = s.sources.map((x) => [x.source, age(board.now - x.heard), x.readings ?? "",
    x.gaps ? `${x.missing} in ${x.gaps} gaps` : "",
    x.clock_behind_ms === null ? "" : `${Math.abs(x.clock_behind_ms)} ms ${x.clock_behind_ms < 0 ? "ahead" : "behind"}`]);
  fill("source-list", [
    make("p", "", `${count("readings_stored")} readings stored, ${count("duplicates_dropped")} repeats dropped, ${count("quarantined")} in quarantine, ${count("conflicts")} conflicts, ${s.decisions} decisions.`),
    make("p", "soft", `Messages: ${count("messages_unreadable")} unreadable, ${count("messages_oversized")} oversized, ${count("messages_empty")} empty, ${count("messages_again")} sent again, ${count("messages_retained")} retained, ${count("messages_of_no_concern")} of no concern, ${count("readings_late")} readings out of order, ${count("readings_beyond_bounds") + count("senders_beyond_bounds")} beyond what is remembered; ${count("connections_lost")} connections lost, ${count("sessions_gone")} times the broker had forgotten our session.`),
    make("div", "buttons", button("Start a drill", () => ask({ title: "Pretend that a source is gone", text: "Its facts age as if no news came. It ends by itself.", path: "/api/drills/start", reason: true,
      drill: [...new Set(["erp", "wms", "tms", "carrier", "hub", ...s.sources.map((x) => x.source)])] }))),
    rows.length ? table(["Source", "Last heard", "Readings", "Missing", "Clock"], rows) : make("p", "soft", "No source has been heard."),
  ], "");
}

let asked = null;
function ask(what) {
  asked = what;
  byId("tap-title").textContent = what.title;
  byId("tap-text").textContent = what.text;
  byId("tap-problem").textContent = "";
  byId("tap-pin").value = "";
  byId("tap-reason").value = "";
  byId("tap-reason").required = Boolean(what.reason);
  byId("tap-reason-label").hidden = !what.reason;
  byId("tap-to-label").hidden = !what.to;
  byId("tap-source-label").hidden = byId("tap-minutes-label").hidden = !what.drill;
  byId("tap-source").replaceChildren(...(what.drill ?? []).map((source) => make("option", "", source)));
  byId("tap-to").replaceChildren(...Object.entries(moves).map(([value, text]) => {
    const option = make("option", "", text);
    option.value = value;
    return option;
  }));
  byId("tap-to").value = "acknowledged";
  byId("tap-proof").hidden = !what.lines;
  byId("tap-lines").replaceChildren(...(what.lines ?? []).map((l) => proofRow(l, what.proof?.lines.find((told) => told.line === l.line))));
  byId("tap-signed").value = what.proof?.signed_by ?? "";
  byId("tap-photo").value = "";
  byId("tap").showModal();
}
byId("tap-cancel").addEventListener("click", () => byId("tap").close());
byId("tap-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const what = asked;
  let body = { ...what.body };
  if (what.drill) Object.assign(body, { source: byId("tap-source").value, minutes: Number(byId("tap-minutes").value) });
  if (what.reason) body.reason = byId("tap-reason").value;
  if (what.to) {
    const [to, whom] = byId("tap-to").value.split("/");
    body.to = to;
    if (whom) body.waits_for = whom;
  }
  const login = new TextEncoder().encode(`${byId("tap-name").value}:${byId("tap-pin").value}`);
  byId("tap-problem").textContent = "Asking...";
  try {
    if (what.lines) body = await proofBody();
    const answer = await fetch(what.path, {
      method: "POST",
      credentials: "omit",
      headers: { "content-type": "application/json", authorization: `Basic ${btoa(String.fromCharCode(...login))}` },
      body: JSON.stringify(body),
    });
    const said = await answer.json();
    if (!answer.ok) throw new Error(said.detail);
    byId("tap").close();
    byId("done").textContent = said.message;
    setTimeout(() => { byId("done").textContent = ""; }, 6000);
    refresh();
  } catch (problem) {
    byId("tap-problem").textContent = problem.message;
  } finally {
    byId("tap-pin").value = "";
  }
});

const live = new EventSource("/api/live");
live.addEventListener("changed", refresh);
live.addEventListener("open", refresh);
// Ages grow though nothing changes, and a line may be silently gone.
setInterval(refresh, 2000);
refresh();
