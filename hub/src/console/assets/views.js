// Makes cards out of what the hub says. In: items as the API gives them, and what a tap may do. Out: nodes.

import { age, button, clockTime, due, duration, isKnown, make, table, words } from "./paint.js";

const SOURCES = { erp: "ERP", wms: "WMS", tms: "TMS", depot: "depot sensors", vehicle: "vehicle", hub: "hub" };
export const source = (word) => SOURCES[word] ?? words(word);
export const hasLeft = new Set(["departed", "delivered", "exception_delivered", "settled"]);
const GOOD = new Set(["released", "loading", "loaded", ...hasLeft]);

const units = (load) => (load ?? []).map((l) => `${l.quantity} x ${l.product}`).join(", ") || "nothing";

function fact(key, value) {
  switch (value.is) {
    case "inventory": return `line ${key.line}: ${value.confirmed} can be picked`;
    case "capacity": return `${value.sufficient ? "it fits" : "it does not fit"}${value.vehicle ? ` on ${value.vehicle}` : ""}`;
    case "carrier": return `${value.carrier} ${value.accepted ? "accepted" : "declined"}`;
    case "credit": return `${value.on_hold ? "on credit hold" : "not on hold"}, ${value.headroom_minor} left (minor units)`;
    case "dock": return [isKnown(value.occupied) && (value.occupied ? "occupied" : "free"), value.vehicle, isKnown(value.open) && (value.open ? "open" : "closed")].filter(Boolean).join(", ") || "nothing said yet";
    case "documents": return value.complete ? "complete" : "not complete";
    case "cargo": return `line ${key.line}: ${value.staged} staged, ${value.loaded} loaded`;
    default: return JSON.stringify(value);
  }
}

function gate(g) {
  const colour = g.state === "pass" ? "good" : g.state === "fail" ? "bad" : "wait";
  const said = g.state === "fail" ? g.reason : g.state === "unknown" ? words(g.why) : "";
  const line = make("li", "", make("span", `tag ${colour}`, g.state === "fail" ? "FAIL" : g.state), ` ${words(g.gate)} `, said ? make("span", colour, `${said} `) : null);
  g.inputs.forEach((i) => line.append(make("span", "soft", `(${fact(i.key, i.value)}: ${source(i.source)} `, age(i.at), isKnown(i.age_ms) ? `, ${duration(i.age_ms)} old then` : ", age unknown then", ") ")));
  if (g.inputs.length && g.limit_ms < 1e15) line.append(make("span", "soft", `may be ${duration(g.limit_ms)} old`));
  return line;
}

function decided(decision) {
  return make("span", "", `${words(decision.kind)}${decision.mode ? ` (${decision.mode})` : ""}, `, age(decision.at), `: ${decision.reason}`);
}

// What is read only when someone opens it.
function later(title, className, load) {
  const inside = make("div", className, "Asking...");
  const node = make("details", "", make("summary", "", title), inside);
  node.addEventListener("toggle", async () => {
    if (!node.open) return;
    try {
      inside.replaceChildren(...await load());
    } catch (problem) {
      inside.replaceChildren(make("span", "bad", problem.message));
    }
  });
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
  const what = [e.t, isHold ? e.reason : null, e.to, e.owner, e.severity, e.carrier, e.mode, e.action].filter(isKnown).map(words).join(" ");
  const why = isHold ? e.why : e.why ?? e.reason;
  return why ? `${what} (${why})` : what;
}

// What two sides said apart and what became of it: what lost against others, what counts for nothing, what is missing.
// Views that an older hub folded may lack a list.
function apart(item) {
  const v = item.view;
  const told = (title, colour) => ([key, reason]) => {
    const entry = item.lost?.[key];
    return make("div", colour, `${title}: ${entry ? `${saying(entry)}, said by ${entry.by} (${writer(key)}) ` : `said by ${writer(key)}`}`, entry ? age(entry.at) : null, `: ${reason}`);
  };
  const lines = [...(v.superseded ?? []).map(told("Superseded", "soft")), ...(v.void ?? []).map(told("Counts for nothing", "wait"))];
  if (v.unread?.length) lines.push(make("div", "wait", `This version cannot read ${v.unread.length} of its entries: ${v.unread.join(", ")}`));
  if (isKnown(item.waits_since)) lines.push(make("div", "wait", "Changes that are here wait for others before them that are not, since ", age(item.waits_since)));
  return lines;
}

export function dispatchCard(d, does) {
  const v = d.view;
  const colour = v.stop_departure || v.left_under_stop || v.state === "held" ? "bad" : GOOD.has(v.state) ? "good" : v.state === "planned" ? "wait" : "";
  const head = make("div", "head", make("h3", "", `${v.order}${v.occurrence > 1 ? ` (${v.occurrence})` : ""}`),
    make("span", `tag ${colour}`, words(v.state)), make("span", "tag", v.site));
  if (v.release) head.append(make("span", "tag", words(v.release.mode)));
  if (v.waits_for_upgrade) head.append(make("span", "tag bad", "waits for an upgrade"));
  if (v.stop_departure) head.append(make("span", "tag bad", "stop departure"));
  if (v.left_under_stop) head.append(make("span", "tag bad", "left under stop"));
  head.append(make("span", "soft", `leaves ${clockTime(v.planned_departure)} - door ${v.door} - vehicle ${v.vehicle} - ${v.carrier}`));
  const card = make("article", `card ${colour}`, head);
  if (d.order) {
    card.append(make("div", "soft", `${d.order.customer.name} (tier ${d.order.customer.tier}), order version ${v.order_version}`));
    if (d.order.status === "cancelled") card.append(make("div", "bad", `The ERP has cancelled the order (version ${d.order.version})`));
    else if (d.order.version > v.order_version) card.append(make("div", "wait", `The ERP has version ${d.order.version} by now: ${units(d.order.quantities)}`));
  }
  card.append(make("div", "", units(v.load)));
  for (const h of v.holds) card.append(make("div", "bad", `Hold (${words(h.reason)}): ${h.why}`));
  if (v.cancelled) card.append(make("div", "bad", "Cancelled"));
  const gone = hasLeft.has(v.state) || v.state === "cancelled" || v.state === "aborted";
  if (d.last_decision) {
    card.append(make("div", "", make("strong", "", "The depot decided: "), decided(d.last_decision)));
    if (!gone && d.last_decision.gates.length) card.append(make("div", "soft", "Gates as they were then:"), make("ul", "gates", ...d.last_decision.gates.map(gate)));
  } else if (!gone) card.append(make("div", "wait", "The depot has told of no decision yet. It weighs the gates; the hub sees what they rest on."));
  if (!gone && d.facts.length) {
    card.append(make("div", "soft", "What the hub knows now:"), make("ul", "plain", ...d.facts.map((f) => make("li", "", `${words(f.key.about)}: ${fact(f.key, f.value)} `, make("span", "soft", `(${source(f.source)} `, f.ageless ? "age unknown" : age(f.at), ")")))));
  }
  card.append(...apart(d));
  if (v.departed) card.append(make("div", "", "Left ", age(v.departed.at), ` with ${units(v.departed.load)}`));
  if (v.delivered) card.append(make("div", "", "Delivered ", age(v.delivered.at)));
  card.append(later("What was decided", "", () => does.decisions(d.id).then((all) => all.map((one) => make("div", "", decided(one), make("ul", "gates", ...one.gates.map(gate)))))));
  if (v.cancel_asked && !v.cancelled && !gone) {
    const proven = v.cancel_asked.is_proven ? " Its vehicle was away when its slot was over." : "";
    card.append(make("div", "wait", `The depot asks to cancel it: ${v.cancel_asked.why}.${proven}`),
      make("div", "buttons", button("Cancel it", () => does.cancel(d), "strong"), button("Do not cancel it", () => does.declineCancel(d))));
  }
  const asked = d.lift_proposed;
  if (asked && !gone) {
    card.append(make("div", "wait", `${asked.by} proposes to lift the hold, `, age(asked.at), `: ${asked.reason}. A second person must confirm it.`),
      make("div", "buttons", button("Confirm it", () => does.confirmLift(d), "strong"), button("Refuse it", () => does.refuseLift(d))));
  }
  const mayAsk = (h) => h.reason !== "gate" && !asked?.holds.includes(h.key) && !(asked && ["quality", "customs"].includes(h.reason));
  if (v.holds.some(mayAsk) && !gone) {
    card.append(make("div", "buttons", button("Lift the hold", () => does.lift(d))));
  }
  return card;
}

export function stopAlarm(d) {
  const v = d.view;
  const why = v.cancelled ? "The order was cancelled." : v.holds.map((h) => `${h.why}.`).join(" ") || "The order changed.";
  return make("div", "alarm", make("strong", "", `STOP ${v.order}: vehicle ${v.vehicle} must not leave door ${v.door} of ${v.site}`), why);
}

// A case by the first half of its name: the filter finds it by that.
const caseName = (id) => `case ${id.slice(0, 16)}`;

// Which cases belong to this one.
function related(v) {
  const lines = [];
  if (v.aliases?.length) lines.push(`Joined with ${v.aliases.map(caseName).join(", ")}: the same matter`);
  if (v.duplicate_of) lines.push(`The matter goes on in ${caseName(v.duplicate_of)}`);
  if (v.follows) lines.push(`Follows ${caseName(v.follows)}`);
  if (v.continued_in) lines.push(`Grew too long and goes on in ${caseName(v.continued_in)}`);
  return lines.map((line) => make("div", "soft", line));
}

export function caseCard(c, does) {
  const v = c.view;
  const colour = v.severity === "S1" || v.severity === "S2" ? "bad" : "wait";
  const over = ["resolved", "closed", "cancelled"].includes(v.state);
  const card = make("article", `card ${over ? "" : colour}`, make("div", "head", make("h3", "", v.summary), make("span", `tag ${over ? "" : colour}`, v.severity),
    make("span", "tag", words(v.case_type)), make("span", "tag", words(v.state)), make("span", "tag", v.site),
    v.waits_for_upgrade ? make("span", "tag bad", "waits for an upgrade") : null,
    make("span", "soft", `${words(v.owner)} - opened `, age(v.opened_at), v.order ? ` - ${v.order}` : "", ` - ${caseName(c.id)}`)));
  if (v.actions.length && !over) card.append(make("div", "", make("strong", "", `Recommended: ${v.actions[0]}`), v.actions.length > 1 ? make("span", "soft", ` - else ${v.actions.slice(1).join(", ")}`) : null));
  if (!over) {
    const times = make("div", "soft");
    if (v.acknowledge_by && !v.acknowledged_at) times.append(due("acknowledge", v.acknowledge_by), ", ");
    if (v.resolve_by) times.append(due("resolve", v.resolve_by));
    card.append(times);
  }
  if (v.reason) card.append(make("div", "soft", v.reason));
  if (v.watching_teams?.length) card.append(make("div", "soft", `Watched by ${v.watching_teams.map(words).join(", ")}, to whom the other side had given it`));
  card.append(...related(v), ...apart(c));
  if (v.state !== "cancelled") card.append(make("div", "buttons", button("Move", () => does.move(c))));
  return card;
}

// What happened, by row of the table of concurrent pairs; row 11 by family as well.
const ROWS = {
  1: "released, then the order was cancelled", 2: "on board, then the order was cancelled", 3: "left, though the order is cancelled",
  4: "delivered, though the order is cancelled", 5: "released, then the customer went on credit hold", 6: "left, though the customer is on credit hold",
  7: "released, then the quantity changed", 8: "left with more than is ordered now", 9: "left, then more was ordered", 10: "left with less than was ordered",
  "address 11": "another address was promised meanwhile", "date 11": "another window was promised meanwhile", "price 11": "left before its price changed",
  12: "another depot has the order", 13: "left twice", 14: "another carrier was tendered it", 16: "left although a hold was placed",
  17: "overrode a hold that was lifted", 18: "left against a hold that stands", 20: "took units that the warehouse did not have",
  33: "decided by rules that were replaced", 34: "decided under a lease that had expired", 35: "too warm on the way", 36: "did not arrive whole", 37: "more was signed for than left",
};
const rowWords = (family, row) => ROWS[`${family} ${row}`] ?? ROWS[row] ?? "";
const CHOICES = {
  accept: "What happened stands", return: "The goods come back", divert: "The goods go elsewhere", credit: "Propose a credit note", escalate: "Leave it to the case",
  "cancel accept": "The customer keeps the goods", "quantity accept": "The customer keeps the surplus", "address divert": "Send it to the new address",
  "price accept": "The new price stands", "pod accept": "It stands as it was signed for", "quality accept": "The customer pays in full",
  "stock accept": "The warehouse counts again", "carrier accept": "The tender is cancelled",
};
export const choiceWords = (item, choice) => CHOICES[`${item.family} ${choice}`] ?? CHOICES[choice] ?? words(choice);

function side(title, ...lines) {
  return make("div", "side", make("h4", "", title), ...lines.filter(isKnown).map((line) => make("div", "", line)));
}
function erpSide(e, open) {
  if (!e) return [open ? "nothing is known yet" : "it was not asked: nothing had to be posted"];
  return [`order ${e.status ?? "status no longer known"}, version ${e.version}`, units(e.quantities), e.on_hold ? make("span", "bad", "customer on credit hold") : "customer not on hold"];
}

// Only a lease that was closed is about no order.
export const title = (item) => item.order ?? "A lease was closed";

export function reconCard(item, does) {
  const open = !item.outcome;
  const colour = !open ? "good" : item.choices.length ? "bad" : "wait";
  const head = make("div", "head", make("h3", "", `${title(item)}${item.row ? `: ${rowWords(item.family, item.row)}` : ""}`), make("span", "tag", item.site),
    make("span", "tag", item.row ? `${words(item.family)}, row ${item.row}` : words(item.family)),
    make("span", `tag ${colour}`, open ? (item.proposed ? "a second person must confirm" : item.choices.length ? "a person must choose" : "open") : words(item.outcome.outcome)),
    make("span", "soft", "since ", age(item.opened)));
  const card = make("article", `card ${colour}`, head);
  card.append(make("div", "sides",
    side("What the depot did", `${words(item.edge.state)}${item.edge.mode ? ` (${item.edge.mode})` : ""}`, units(item.edge.load), make("span", "soft", `decision ${item.decision}, as known here since `, age(item.edge.known_at))),
    side(open ? "What the ERP says now" : "What the ERP said when it was settled", ...erpSide(item.erp_now, open)),
    side("What the depot had seen of it", ...(item.erp_before ? [`order ${item.erp_before.status ?? ""}, version ${item.erp_before.version}`, units(item.erp_before.quantities)] : ["no order"]))));
  if (item.surplus.length) card.append(make("div", "bad", `It is about: ${units(item.surplus)}`));
  if (open && item.value_minor) card.append(make("div", "", `At stake: ${item.value_minor} minor units of ${item.currency}`));
  for (const matter of item.also ?? []) card.append(make("div", "wait", `Also: ${rowWords(matter.family, matter.row) || words(matter.family)}${matter.case ? " (it has a case)" : ""}`));
  for (const s of item.before ?? []) card.append(make("div", "soft", `Before it was opened again: ${words(s.family)}, ${words(s.outcome.outcome)}${s.chosen ? ` by ${s.chosen.by}` : ""}, `, s.closed ? age(s.closed) : ""));
  if (item.proposed) card.append(make("div", "wait", `${item.proposed.by} proposes "${choiceWords(item, item.proposed.choice)}", `, age(item.proposed.at), `: ${item.proposed.reason}. Policy asks for a second person.`));
  if (item.chosen) card.append(make("div", "", `${item.chosen.by}${item.chosen.second ? ` and ${item.chosen.second}` : ""} chose "${choiceWords(item, item.chosen.choice)}", `, age(item.chosen.at), `: ${item.chosen.reason}`));
  if (!open) card.append(make("div", "", ...outcome(item.outcome), item.closed ? ", " : "", item.closed ? age(item.closed) : ""));
  else if (!item.choices.length && !item.chosen) card.append(make("div", "soft", "Nothing is to be chosen now: the hub goes on when both sides are known and posted."));
  card.append(later("Postings at the ERP", "", () => does.postings(item.decision).then((all) => all.length ? [table(["What", "How much", "State", "Tries", "Trouble"],
    all.map((p) => [words(p.posting.kind), p.posting.quantity ?? "", words(p.state), p.attempts, p.last_error ?? ""]))] : [make("p", "soft", "None.")])));
  if (open && item.proposed) {
    card.append(make("div", "buttons", button("Confirm it", () => does.confirm(item), "strong"), button("Refuse it", () => does.refuse(item))));
  } else if (open && item.choices.length) {
    card.append(make("div", "buttons", ...item.choices.map((choice) => button(choiceWords(item, choice), () => does.choose(item, choice, choiceWords(item, choice)), "strong"))));
  }
  return card;
}

function outcome(o) {
  switch (o.outcome) {
    case "compensated": return [`Compensated by ${o.document}`];
    case "accepted_variance": return [`The difference was accepted: ${o.approver}`];
    case "escalated": return [`Escalated to case ${o.case}`];
    default: return ["Both sides agree"];
  }
}

export function letterCard(letter, does) {
  const p = letter.posting;
  return make("article", "card bad", make("div", "head", make("h3", "", `${words(p.kind)} for ${p.order}${p.line ? `, line ${p.line}` : ""}${isKnown(p.quantity) ? `: ${p.quantity}` : ""}`),
    make("span", "soft", `${letter.attempts} tries - of `, age(p.at))),
  make("div", "bad", letter.last_error ?? "no reason was kept"), make("div", "soft", `key ${p.key}`),
  make("div", "soft", "Later postings of this order wait behind it. The ERP is asked whether it has this one before it is sent again."),
  make("div", "soft", p.text),
  make("div", "buttons", button("Try again", () => does.replay(letter), "strong"), button("Correct it", () => does.correct(letter)), button("It was booked by hand", () => does.booked(letter))));
}

export function figureTable(figures) {
  const money = (open) => Object.entries(open).map(([currency, minor]) => `${minor} minor units of ${currency}`).join(", ") || "-";
  return table(["Kind", "Open", "Wait for a person", "At stake", "Settled in 7 days", "Half within", "9 of 10 within"], figures.map((f) => [words(f.family), f.open, f.waiting, money(f.open_value_minor),
    f.settled, isKnown(f.p50_ms) ? duration(f.p50_ms) : "-", isKnown(f.p90_ms) ? duration(f.p90_ms) : "-"]));
}

export function deviceTable(devices) {
  return table(["Device", "Depots", "Line", "Last heard", "Waits to be sent", "Readings", "Repeats", "Quarantine", "Version"], devices.map((d) => {
    const s = d.status ?? {};
    return [make("span", "", `${d.device} `, make("span", "soft", d.kind)), [...d.sites, ...d.vehicles].join(", "),
      make("span", `tag ${d.connected ? "good" : "bad"}`, d.connected ? "connected" : "not connected"), d.seen ? age(d.seen) : "never",
      s.outbox ?? "-", s.readings ?? "-", s.duplicates ?? "-", s.quarantined ?? "-", s.version ?? "-"];
  }));
}

export function sourceTable(sources) {
  const heard = new Map(sources.map((s) => [s.source, s.at]));
  for (const known of ["erp", "wms", "tms"]) if (!heard.has(known)) heard.set(known, null);
  return table(["Source", "Last heard"], [...heard].map(([name, at]) => [source(name), isKnown(at) ? age(at) : make("span", "wait", "never")]));
}

export function leaseTable(leases) {
  return table(["Lease", "Depot", "State", "Value used (minor units)", "Credit used", "Stock used", "Granted", "Until"], leases.map((row) => {
    const { lease, used } = row;
    const parts = (mine, all) => Object.entries(mine).map(([name, n]) => `${name}: ${n} of ${all[name] ?? 0}`).join("; ") || "none";
    const waits = row.state === "outstanding" && isKnown(row.asked_at);
    return [lease.id, lease.device ? `${lease.site} (${lease.device})` : lease.site, waits ? make("span", "wait", "ran out unreported; waits for a person") : words(row.state), `${used.value_minor} of ${lease.value_ceiling_minor}`, parts(used.credit_minor, lease.credit_minor), parts(used.stock, lease.stock), age(lease.granted_at), clockTime(lease.expires_at)];
  }));
}

export function quarantineTable(items) {
  return table(["Came in", "From", "What", "Why", "Bytes"], items.map((q) => [age(q.at), q.origin, words(q.what), q.reason, q.size]));
}
