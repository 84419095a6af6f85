// The fold of docs/documents.md, written from that page alone. In: a document as the npm package of Automerge loads it, and
// whether it is a case or a dispatch. Out: its state, or null. `PLANTED=rule` breaks a rule, as a control.
const planted = (rule) => process.env.PLANTED === rule, words = (text) => text.split(" ");
const pick = (from, names) => Object.fromEntries(words(names).map((name) => [name, from[name]]));
const NEWEST = 2, DAY_MS = 86_400_000, LONGEST = 200;
// ---- entries: what can be read, and what each kind must have
const table = (text) => Object.fromEntries(text.split(", ").map((kind) => [words(kind)[0], words(kind).slice(1)]));
const CASE = table("opened case_type subject leg occurrence site since summary, classified severity axes owner actions acknowledge_by "
  + "resolve_by bundle, triggered since evidence, moved to since reason auto_cleared, assigned owner, severity_lowered severity reason, "
  + "escalated level, acted action outcome, fold version, marked mark value, unmarked mark value, attached name hash, aliased case "
  + "opened_at touches, continued case");
const DISPATCH = table("planned order order_version site occurrence vehicle carrier door load planned_departure, ready, held reason why "
  + "cases, lifted holds why, released mode decision order_version load overrides, terms order_version load why, cancelled order_version "
  + "why, loading evidence, loaded load evidence, departed load evidence, delivered load evidence, arrived evidence, left evidence, "
  + "proved lines load evidence, aborted evidence, recall_seen, settled documents, fold version, confirmed holds why, carrier carrier "
  + "why, reassigned to order_version why, changed order_version what promised promises why, cancel_asked why, cancel_declined asked why, "
  + "in_transit action why");
function read(doc, kinds) {
  const entries = new Map(), unread = [];
  for (const [key, value] of Object.entries(doc.entries)) {
    const k = /^(hub|site|vehicle)\/([\w.-]+)\/([\w.-]+)\/(0|[1-9]\d*)-(0|[1-9]\d*)$/.exec(key);
    let said = null; try { said = JSON.parse(String(value)); } catch { /* counts for nothing */ }
    const fields = said && Array.isArray(kinds[said.t]) && ["after", "at", "hlc", "by", ...kinds[said.t]];
    if (!k || !fields || fields.some((f) => said[f] === undefined)) unread.push(key);
    else entries.set(key, { ...said, key, who: [words("hub site vehicle").indexOf(k[1]), k[2], k[3], +k[4], +k[5]] });
  }
  return { entries, unread };
}
function order(entries) {
  const open = new Map(entries);
  while (open.size) {
    let ready = [...open.values()].filter((e) => !e.after.some((k) => open.has(k))); if (!ready.length) ready = [...open.values()];
    const seen = (e) => e.after.filter((k) => !open.has(k) && entries.has(k)).flatMap((k) => [k, ...entries.get(k).past]);
    for (const e of ready) e.next = new Set(seen(e));
    for (const e of ready) { e.past = e.next; delete e.next; open.delete(e.key); }
  }
  return [...entries.values()].sort(byKey);
}
const compare = (a, b) => { for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return a[i] < b[i] ? -1 : 1; return 0; };
const clock = (e) => [e.hlc.ms, e.hlc.n], byClock = (a, b) => compare([...clock(a), ...a.who], [...clock(b), ...b.who]);
const byKey = (a, b) => compare(a.who, b.who), before = (a, b) => b.past.has(a.key), hub = (e) => e.who[0] === 0;
const latest = (list) => list.filter((e) => !list.some((o) => before(e, o))), last = (list) => latest(list).sort(byClock).at(-1);
const earliest = (list, at) => [...list].sort((a, b) => compare([at(a), ...a.who], [at(b), ...b.who]))[0];
function versioned(entries, unread, allowed, isNewer) {
  const version = Math.max(1, ...[...entries.values()].filter((e) => e.t === "fold" && allowed(e)).map((e) => e.version));
  if (version < 2) for (const e of [...entries.values()].filter(isNewer)) { entries.delete(e.key); unread.push(e.key); }
  return version;
}
const FLOOR = { DOCK_BLOCKED: "S3", CREDIT_HOLD: "S2", CUSTOMS_HOLD: "S2", ETA_RISK: "S3", POD_SHORT: "S3", INV_SHORTFALL: "S3" };
const OWNER = { DOCK_BLOCKED: "warehouse", CREDIT_HOLD: "finance", CUSTOMS_HOLD: "dispatch", ETA_RISK: "customer_service",
  POD_SHORT: "finance", INV_SHORTFALL: "warehouse" };
const TEAMS = words("dispatch warehouse finance customer_service carrier_management governance it");
const WEIGHT = words("open acknowledged waiting in_progress resolved cancelled closed reopened"), OVER = WEIGHT.slice(4, 7);
const THE_HUBS = words("CREDIT_HOLD POLICY_VIOLATION RECON_DISCREPANCY POD_SHORT POD_OVER CUSTOMS_HOLD");
const STEPS = words("open>acknowledged acknowledged>in_progress reopened>in_progress waiting>in_progress in_progress>waiting "
  + "in_progress>resolved waiting>resolved resolved>closed resolved>reopened");
function foldCase({ entries, unread }, notes) {
  const opened = earliest([...entries.values()].filter((e) => e.t === "opened" && (hub(e) || e.who[1] === e.site)), (e) => e.at);
  if (!opened) return null; let steps = []; const near = (e) => hub(e) || e.who[1] === opened.site;
  const version = versioned(entries, unread, near, (e) => words("marked unmarked attached aliased continued").includes(e.t));
  const hubs = version >= 2 ? THE_HUBS : THE_HUBS.slice(0, 3);
  const rests = (e) => e.to === "closed"
    || (hubs.includes(opened.case_type) && (e.to === "cancelled" || (e.to === "resolved" && !e.auto_cleared)));
  const may = (e) => hub(e)
    || (near(e) && e.t !== "aliased" && !(e.t === "severity_lowered" && e.who[0] === 2) && !(e.t === "moved" && rests(e)));
  const all = order(entries), of = (...kinds) => valid.filter((e) => kinds.includes(e.t)); let valid = all.filter(may);
  const questions = of("escalated").filter((e) => e.question != null), triggers = of("triggered");
  const continued = of("continued").filter((e) => e.past.size >= LONGEST);
  function standing(writer) {
    const seen = (e) => !writer || before(e, writer);
    const beaten = latest(steps.filter(seen)).sort((a, b) => WEIGHT.indexOf(a.to) - WEIGHT.indexOf(b.to) || byClock(a, b));
    if (planted("register")) beaten.sort(byClock);
    const by = beaten.pop(); let state = by ? by.to : "open";
    if (state === "closed" && version >= 2 && beaten.some((e) => e.to === "in_progress" || e.to === "waiting")) state = "reopened";
    if (state === "resolved" && questions.some((q) => seen(q) && !before(q, by))) state = "in_progress";
    else if (state === "resolved" && triggers.some((t) => seen(t) && t.since > by.since && !before(t, by))) state = "reopened";
    return { state: continued.some(seen) ? "closed" : state, by, beaten };
  }
  function isStep(e) {
    const from = standing(e).state, { to, how } = e;
    const closings = steps.filter((s) => s.to === "closed" && before(s, e)).map((s) => Math.trunc((e.at - s.at) / DAY_MS));
    const leads = e.auto_cleared && to === "resolved" ? !OVER.includes(from) : e.auto_cleared && from === "resolved" ? false
      : STEPS.includes(`${from}>${to}`) || (from === "closed" && (to === "reopened" || to === "cancelled") && hub(e))
      || (to === "cancelled" && from !== "cancelled" && from !== "closed");
    if (!leads || to === "waiting") return leads && how?.waits_for !== undefined;
    if (to === "cancelled") return how === "false_alarm" || how?.duplicate_of !== undefined;
    if (to === "resolved") return e.auto_cleared || Boolean(how?.resolved?.code && how.resolved.cause);
    return to !== "reopened" || (e.reason !== "" && !(from === "closed" && Math.min(...closings) >= 14));
  }
  const moves = of("moved").sort((a, b) => a.past.size - b.past.size || byKey(a, b));
  if (version < 2) steps = moves; else for (const e of moves) if (planted("steps") || isStep(e)) steps.push(e);
  valid = valid.filter((e) => (e.t !== "moved" || steps.includes(e)) && (e.t !== "continued" || continued.includes(e)));
  const { state, by, beaten } = standing(null), resolves = steps.filter((e) => e.to === "resolved"), resolve = last(resolves);
  const assigned = of("assigned"), teams = latest(assigned.length ? assigned : of("classified"))
    .sort((a, b) => a.who[0] - b.who[0] || compare(clock(b), clock(a)) || byKey(a, b));
  const owner = teams[0]?.owner ?? OWNER[opened.case_type];
  const lost = assigned.length && version >= 2 ? teams.slice(1).filter((e) => e.owner !== owner) : [];
  const lowering = last(of("severity_lowered"));
  const raises = of("classified").filter((e) => !lowering || !before(e, lowering)).map((e) => e.severity);
  const severity = [...raises, ...(lowering ? [lowering.severity] : [])].sort()[0] ?? FLOOR[opened.case_type];
  const outweighed = version >= 2 && lowering && severity < lowering.severity ? [lowering] : [];
  const gone = (m) => of("unmarked").some((u) => u.mark === m.mark && u.value === m.value && before(m, u));
  const marks = (kind) => [...new Set(of("marked").filter((m) => m.mark === kind && !gone(m)).map((m) => m.value))].sort();
  const due = last(of("classified")), joined = of("aliased"); let paused_ms = 0, paused_since;
  for (const w of steps.filter((e) => e.to === "waiting" && ["customer", "approval"].includes(e.how?.waits_for))) {
    const ends = steps.filter((e) => before(w, e)).map((e) => e.at);
    if (ends.length) paused_ms += Math.max(0, Math.min(...ends) - w.at); else if (by === w && state === "waiting") paused_since = w.at;
  }
  const between = (a, b) => resolves.some((o) => before(a, o) && before(o, b));
  const undone = (r) => triggers.some((t) => t.since > r.since && !before(t, r))
    || steps.some((m) => m.to === "reopened" && before(r, m) && !between(r, m));
  const acks = steps.filter((e) => e.to === "acknowledged" || e.to === "in_progress").map((e) => e.at);
  const touched = of("assigned", "severity_lowered", "acted", "marked", "unmarked", "attached").length;
  return { ...pick(opened, "case_type subject leg occurrence site summary order blocks follows"), state, severity, owner, paused_ms,
    paused_since, continued_in: continued.sort(byKey)[0]?.case, duplicate_of: state === "cancelled" ? by?.how?.duplicate_of : null,
    aliases: [...new Set(joined.map((a) => a.case))].sort(), waits_for: state === "waiting" ? by?.how?.waits_for : null,
    watching_teams: TEAMS.filter((t) => lost.some((e) => e.owner === t)), watchers: marks("watcher"), tags: marks("tag"),
    actions: due?.actions ?? [], acknowledge_by: due?.acknowledge_by, resolve_by: due?.resolve_by,
    opened_at: Math.min(opened.at, ...joined.map((a) => a.opened_at)), acknowledged_at: acks.length ? Math.min(...acks) : null,
    resolved_at: resolve?.at, resolution: resolve?.how?.resolved, moved_at: by?.since, reason: by?.reason,
    triggers: of("opened", "triggered").length, reopens: resolves.filter(undone).length,
    touches: joined.reduce((sum, a) => sum + a.touches, touched + of("moved").filter((e) => !e.auto_cleared).length),
    escalations: [...new Set(of("escalated").map((e) => e.level))].sort((a, b) => a - b),
    evidence: triggers.map((e) => pick(e, "key since evidence")), taken: of("acted").map((e) => pick(e, "key action outcome")),
    attachments: of("attached").map((e) => pick(e, "key name hash")), superseded: [...beaten, ...lost, ...outweighed].map((e) => e.key),
    void: all.filter((e) => !valid.includes(e)).map((e) => e.key), unread, length: all.length, notes, fold: version,
    waits_for_upgrade: version > NEWEST };
}
function foldDispatch({ entries, unread }) {
  order(entries); const local = (e, site, kind) => e.who[0] === kind && e.who[1] === site;
  const lastPlan = () => last([...entries.values()].filter((e) => e.t === "planned" && (hub(e) || local(e, e.site, 1))));
  if (!lastPlan()) return null;
  const version = versioned(entries, unread, (e) => hub(e) || local(e, lastPlan().site, 1), (e) => e.reason === "customs"
    || words("confirmed carrier reassigned changed cancel_asked cancel_declined in_transit").includes(e.t));
  const all = order(entries), plan = lastPlan(), { site } = plan;
  const may = (e) => words("planned ready held released fold carrier").includes(e.t) ? hub(e) || local(e, site, 1)
    : words("loading loaded aborted recall_seen cancel_asked").includes(e.t) ? local(e, site, 1)
    : e.t === "departed" ? hub(e) || e.who[1] === site
    : words("delivered arrived left proved").includes(e.t) ? hub(e) || local(e, site, 2) : hub(e);
  const valid = all.filter(may), of = (...kinds) => valid.filter((e) => kinds.includes(e.t)), at = (e) => e.evidence.at;
  const first = (list) => earliest(list, at), ms = (kind) => first(of(kind))?.evidence.at;
  const fact = (e) => e && { key: e.key, load: e.load, at: at(e) }, same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
  const edge = of("departed").filter((e) => !hub(e));
  const gone = first(version >= 2 && edge.length && !planted("carrier's word") ? edge : of("departed"));
  const gaps = of("departed").map((e) => Math.abs(at(e) - at(gone))).filter((gap) => gap > 600_000);
  const signed = of("proved").sort((a, b) => compare([at(a), ...a.who], [at(b), ...b.who])).at(-1), came = first(of("delivered"));
  const departed = fact(gone), delivered = fact(signed ?? came); if (signed && came) delivered.at = Math.min(at(signed), at(came));
  const varies = signed?.lines.some((l) => (l.refused ?? 0) > 0 || (l.damaged ?? 0) > 0);
  const loaded = of("loaded").length > 0, moved = loaded || of("loading").length > 0;
  const happened = of("settled").length && (delivered || (departed && version < 2)) ? "settled"
    : delivered ? ((departed && !same(departed.load, delivered.load)) || varies ? "exception_delivered" : "delivered")
    : departed ? "departed" : moved && of("aborted").length ? "aborted" : loaded ? "loaded" : moved ? "loading" : null;
  const newest = of("terms").reduce((best, e) => (best && best.order_version > e.order_version ? best : e), null);
  const terms = newest && newest.order_version >= plan.order_version ? newest : plan, released = last(of("released"));
  const outdated = Boolean(released && newest && released.order_version < newest.order_version), cancelled = last(of("cancelled"));
  const cargo = of("loading", "loaded", "departed"), word = last(of("reassigned"));
  const reassigned_to = word && cargo.every((f) => before(word, f)) ? word.to : null;
  const confirmed = (hold, e) => of("confirmed").some((c) => c.holds.includes(hold.key) && !before(c, e));
  const refused = (hold, e) => version >= 2 && !planted("any override") && (/quality|customs/.test(hold.reason) || confirmed(hold, e));
  const lifted = (h) => of("lifted").some((e) => e.holds.includes(h.key)) || (h.reason === "gate" && of("ready").some((e) => before(h, e)))
    || of("released").some((e) => e.overrides.includes(h.key) && !refused(h, e));
  const standing = of("held").filter((h) => !lifted(h)), apart = (a, b) => !before(a, b) && !before(b, a);
  const weighed = latest(of("ready", "held", "terms")), ready = weighed.length > 0 && weighed.every((e) => e.t === "ready");
  const intended = cancelled || reassigned_to ? "cancelled" : standing.length || (outdated && !(ready && version >= 2)) ? "held"
    : released && !outdated ? "released" : ready ? "ready" : "planned";
  const state = happened ?? intended, stopped = outdated || intended === "cancelled" || intended === "held";
  const aboard = state === "loading" || state === "loaded", left = words("departed delivered exception_delivered settled").includes(state);
  const late = (e) => cargo.length > 0 && !cargo.some((f) => before(e, f)), carriers = of("carrier");
  const named = latest(carriers.filter((e) => !late(e))).sort((a, b) => Number(hub(b)) - Number(hub(a)) || byClock(b, a));
  const carrier = named[0]?.carrier ?? plan.carrier, tooLate = last(carriers.filter(late))?.carrier;
  const asked = last(of("cancel_asked").filter((a) => !cancelled && !of("cancel_declined").some((d) => d.asked.includes(a.key))));
  const open = (kinds, what) => of("changed").some((c) => c.what.some((w) => what.includes(w)) && !of(...kinds).some((e) => before(c, e)));
  const dates = of("changed").filter((c) => c.what.includes("date"))
    .sort((a, b) => compare([a.order_version, ...a.who], [b.order_version, ...b.who])).flatMap((c) => [c.promised, c.promises]);
  const unneeded = Boolean(released && version >= 2 && released.mode === "override" && released.overrides.length
    && released.overrides.every((h) => of("lifted").some((l) => l.holds.includes(h) && apart(l, released))));
  const recalls = of("cancelled", "reassigned"), stops = [...of("cancelled", "reassigned", "terms"), ...standing];
  const beaten = (e) => e.t === "cancelled" ? left : e.t === "held" ? left && !lifted(e) : e.t === "reassigned" ? !reassigned_to
    : e.t === "carrier" ? late(e) : e.t === "departed" ? version >= 2 && e !== gone
    : e.t === "released" && (state === "cancelled" || state === "held"
      || (version >= 2 && e.overrides.some((h) => standing.some((s) => s.key === h))));
  const line = (l) => ({ line: l.line, delivered: l.delivered, refused: l.refused ?? 0, damaged: l.damaged ?? 0 });
  return { ...pick(plan, "order site occurrence vehicle door planned_departure"), state, carrier, reassigned_to, departed, delivered,
    stop_departure: stopped && aboard, left_under_stop: stopped && left, load: terms.load, cancelled: cancelled?.key,
    stop_was_known: Boolean(stopped && gone && stops.some((s) => before(s, gone))), carrier_refused: tooLate !== carrier ? tooLate : null,
    order_version: Math.max(terms.order_version, 0, ...of("cancelled", "reassigned", "changed").map((e) => e.order_version)),
    release: released && { ...pick(released, "key decision order_version load at"), mode: unneeded ? "normal" : released.mode,
      override_unneeded: unneeded }, holds: standing.map((h) => pick(h, "key reason why cases")),
    cancel_asked: asked && { key: asked.key, why: asked.why, is_proven: asked.absence != null },
    weigh_again: !left && open(["ready", "released", "held"], ["address", "date"]), divert: left && open(["in_transit"], ["address"]),
    promises: dates.filter((p, i) => p !== dates[i - 1]), in_transit: of("in_transit").map((e) => [e.key, e.action]),
    recall_seen: recalls.length > 0 && recalls.every((r) => of("recall_seen").some((s) => before(r, s))),
    departure_disputed_ms: gaps.length ? Math.max(...gaps) : null,
    proof: signed && { ...pick(signed, "key load signed_by photo"), lines: signed.lines.map(line), at: at(signed) },
    arrived_at: ms("arrived"), went_on_at: ms("left"), loading_at: ms("loading"), loaded_at: ms("loaded"),
    superseded: valid.filter(beaten).map((e) => e.key), void: all.filter((e) => !valid.includes(e)).map((e) => e.key), unread,
    fold: version, waits_for_upgrade: version > NEWEST };
}
export const fold = (doc, kind) => kind === "case" ? foldCase(read(doc, CASE), String(doc.notes)) : foldDispatch(read(doc, DISPATCH));
