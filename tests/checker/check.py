#!/usr/bin/env python3
"""Judges a finished run of the demo from outside.

In: the folder of a run, with the generator's own lists (plan.json, published.jsonl, physical.jsonl),
the SQLite stores of agents and hub, and the log of effects of the stand-in ERP.
Out: a summary object, and on standard error one sentence for each thing that is wrong.
Status 0: nothing is. 1: something is. 2: the folder cannot be read.

Shares no code and no counter with the product: it counts rows, recomputes hashes, signatures and
lease use from the signed texts, and compares with what physically happened. Standard library only.
"""

import argparse
import base64
import hashlib
import json
import math
import sqlite3
import sys
from collections import Counter, defaultdict

import chunks
import ed25519
from erp import check_erp
from run import RELEASES, Run, canonical

# The first change of every document: all stores know it, none keeps it.
GENESIS = "67ddc047decefb46ebb2d4ccce7bb42075ee58ca979580ffd1491f31e3055c37"
GONE = ("departed", "delivered", "exception_delivered", "settled")


# Readings


def expected_content(message):
    """What a stored body must say of a published payload, key by key."""
    payload = json.loads(message["payload"])
    if message["kind"] == "position":
        return {"point": {"lat": payload["lat"], "lon": payload["lon"]}, "speed_kmh": payload.get("vel")}
    keys = ("open", "occupied", "order", "line", "quantity", "intact", "number", "complete")
    return {key: payload[key] for key in keys if key in payload}


def check_readings(run):
    published = lost = stored = again = 0
    # A store keeps the first 8 bytes of a payload's hash.
    short = {m["payload_hash"][:16]: m["payload_hash"] for m in run.published}
    owner = {m["payload_hash"]: m["store"] for m in run.published if m["fate"] == "stored"}
    for name in run.agents:
        mine = [m for m in run.published if m["store"] == name]
        good = [m for m in mine if m["fate"] == "stored"]
        wanted = {(m["topic"], m["id"], m["payload_hash"]): m for m in good}
        published += len(good)
        again += len(good) - len(wanted)
        have = Counter()
        for row in run.data[name]["readings"]:
            stored += 1
            payload_hash = short.get(row["payload_hash"])
            key = (row["source"], row["reading_id"], payload_hash)
            have[key] += 1
            message = wanted.get(key)
            if message is None:
                whose = owner.get(payload_hash)
                what = f"belongs to {whose}" if whose not in (None, name) else "was never published so"
                run.wrong("readings", f"{name} has reading {row['reading_id']} that {what}")
                continue
            body = row["value"]
            differing = [k for k, v in expected_content(message).items() if body.get(k) != v]
            if differing or body.get("kind") != message["kind"] or row["kind"] != message["kind"]:
                run.wrong("readings", f"{name} has reading {row['reading_id']} with another content {differing}")
            elif row["at_ms"] != message["at_ms"]:
                run.wrong("readings", f"{name} has reading {row['reading_id']} at another time")
        for key, count in have.items():
            if count > 1:
                run.wrong("readings", f"{name} has reading {key[1]} {count} times")
        for key in wanted:
            if key not in have:
                lost += 1
                run.wrong("readings", f"{name} lost reading {key[1]} of {key[0]}")
        aside = Counter(row["payload_hash"] for row in run.data[name]["quarantine"])
        for message in mine:
            if message["fate"] != "stored" and not aside[message["payload_hash"]]:
                run.wrong("quarantine", f"{name} does not have the message on {message['topic']} that nobody can use")
        for row in run.data[name]["quarantine"]:
            if not any(m["payload_hash"] == row["payload_hash"] and m["fate"] != "stored" for m in mine):
                run.wrong("quarantine", f"{name} put aside a good message of {row['topic']}: {row['reason']}")
    return {"published": published, "stored": stored, "lost": lost, "duplicates_dropped": again}


# Decisions


def check_chain(run, name, key, records):
    """One device's chain: hashes, links, places and signatures. Gives whether it is whole."""
    whole = True

    def broken(position, what):
        nonlocal whole
        whole = False
        run.wrong("decisions", f"{name} record {position} {what}")

    previous, expected, epoch = "0" * 64, 1, None
    for row in records:
        if row["epoch"] != epoch:
            epoch, previous, expected = row["epoch"], "0" * 64, 1
        text = row["body"].encode("utf-8")
        body = json.loads(text)
        digest = hashlib.sha256(text).hexdigest()
        if row["hash"] != digest:
            broken(row["position"], "has another hash than its text")
        try:
            signature = base64.b64decode(row["signature"], validate=True)
        except ValueError:
            signature = b""
        if not ed25519.verify(key, text, signature):
            broken(row["position"], "is not signed by its device")
        if row["position"] != expected:
            broken(row["position"], f"stands where {expected} belongs")
        if body["device"] != name or body["id"] != f"{body['device']}-{body['epoch']}-{body['position']}":
            broken(row["position"], "belongs to another chain")
        elif body["position"] != row["position"] or body["epoch"] != epoch or row["id"] != body["id"]:
            broken(row["position"], f"holds the text of {body['id']}")
        if body["previous"] != previous:
            broken(row["position"], "does not follow the one before it")
        site = run.stores[name]["site"]
        if site and body["site"] != site:
            broken(row["position"], f"speaks for {body['site']}")
        previous, expected = digest, row["position"] + 1
    return whole


def check_anchors(run, name, records):
    """What the hub receipted of one device's whole chain: its signature, and the hash of the record here."""
    hub_key = base64.b64decode(run.plan["hub_public_key"])
    hashes = {(row["epoch"], row["position"]): hashlib.sha256(row["body"].encode("utf-8")).hexdigest() for row in records}
    for row in run.data[name]["anchors"]:
        head = json.loads(row["body"])
        place = (head["epoch"], head["position"])
        what = f"{name} has a receipt for record {place[1]} of epoch {place[0]}"
        if not ed25519.verify(hub_key, row["body"].encode("utf-8"), base64.b64decode(row["signature"])):
            run.wrong("decisions", f"{what} that the hub did not sign")
        elif head["device"] != name or hashes.get(place, head["hash"]) != head["hash"]:
            run.wrong("decisions", f"{what}, and the record is another one")


def check_decisions(run):
    listed = {row["device"]: row["public_key"] for row in run.hub["devices"]}
    chain_ok = True
    for name in run.agents:
        own = run.data[name]["decisions"]
        key_text = run.data[name]["identity"].get("public_key", "")
        if listed.get(name) != key_text:
            run.wrong("decisions", f"the hub lists another key for {name}")
        whole = check_chain(run, name, base64.b64decode(key_text), own)
        chain_ok &= whole
        # A record that was altered does not match its receipt either; once is enough.
        if whole:
            check_anchors(run, name, own)
        at_hub = [row for row in run.hub["decisions"] if row["device"] == name]
        parts = ("id", "hash", "body", "signature")
        mine = {(r["epoch"], r["position"]): tuple(r[p] for p in parts) for r in own}
        theirs = {(r["epoch"], r["position"]): tuple(r[p] for p in parts) for r in at_hub}
        for place in sorted(mine.keys() | theirs.keys()):
            if mine.get(place) != theirs.get(place):
                run.wrong("decisions", f"{name} and the hub differ on record {place[1]} of epoch {place[0]}")
        if len(at_hub) != len(theirs):
            run.wrong("decisions", f"the hub has a record of {name} twice")
    for row in run.hub["decisions"]:
        if row["device"] not in run.agents:
            run.wrong("decisions", f"the hub has {row['id']} of a device that did not take part")
    standing = {}  # dispatch: the decision that released it
    for _, body in run.decisions:
        dispatch = body["dispatch"]
        if body["kind"] in RELEASES:
            if dispatch in standing:
                run.wrong("decisions", f"{body['id']} releases what {standing[dispatch]} had released already")
            standing[dispatch] = body["id"]
        elif body["kind"] in ("recall", "hold"):
            standing.pop(dispatch, None)
    for name, body in run.decisions:
        if body["kind"] != "release":
            continue
        for gate in body["gates"]:
            if gate["state"] != "pass":
                run.wrong("gates", f"{body['id']} released although {gate['gate']} is {gate['state']}")
            for fact in gate["inputs"]:
                if fact["age_ms"] is None or fact["age_ms"] > gate["limit_ms"]:
                    run.wrong("gates", f"{body['id']} rests on a fact of {gate['gate']} that is too old")
    return {"made": len(run.decisions), "at_hub": len(run.hub["decisions"]), "chain_ok": chain_ok}


# Leases


def use_of(run, body):
    """Value, credit and stock that a release uses, from the plan's prices and the signed load."""
    order = run.orders[body["order"][0]]
    price = {line["line"]: line["unit_price_minor"] for line in order["lines"]}
    value = sum(price[part["line"]] * part["quantity"] for part in body["load"])
    stock = Counter()
    for part in body["load"]:
        stock[part["product"]] += part["quantity"]
    return {"value_minor": value, "credit_minor": {order["customer"]: value}, "stock": dict(stock)}


def beyond(used, before):
    """What `used` is more than `before`, part by part. A load that is released again uses a lease once."""
    return {
        "value_minor": max(0, used["value_minor"] - before["value_minor"]),
        "credit_minor": {k: max(0, v - before["credit_minor"][k]) for k, v in used["credit_minor"].items()},
        "stock": {k: max(0, v - before["stock"][k]) for k, v in used["stock"].items()},
    }


def nothing_used():
    return {"value_minor": 0, "credit_minor": Counter(), "stock": Counter()}


def add_use(total, used):
    total["value_minor"] += used["value_minor"]
    total["credit_minor"].update(used["credit_minor"])
    total["stock"].update(used["stock"])


def is_above(lease, total, used, kind):
    """Whether `used`, with which the lease comes to `total`, is more than it allowed: never in credit, and in value
    and stock only where a person overrode."""
    credit, stock = lease["credit_minor"], lease["stock"]
    if any(n > 0 and total["credit_minor"][who] > credit.get(who, 0) for who, n in used["credit_minor"].items()):
        return True
    if kind == "override":
        return False
    if used["value_minor"] > 0 and total["value_minor"] > lease["value_ceiling_minor"]:
        return True
    return any(n > 0 and total["stock"][what] > stock.get(what, 0) for what, n in used["stock"].items())


def check_leases(run):
    hub_key = base64.b64decode(run.plan["hub_public_key"])
    leases = {}
    for row in run.hub["leases"]:
        leases[row["id"]] = json.loads(row["body"])
        if not ed25519.verify(hub_key, row["body"].encode("utf-8"), base64.b64decode(row["signature"])):
            run.wrong("leases", f"{row['id']} is not signed by the hub")
    sums, by_dispatch = defaultdict(nothing_used), defaultdict(nothing_used)
    over, above = set(), set()
    for name, body in run.decisions:
        if body["kind"] not in RELEASES:
            continue
        charge = body["lease"]
        if charge is None:
            if body["mode"] != "override":
                run.wrong("leases", f"{body['id']} released {body['mode']} without a lease")
                over.add(body["id"])
            continue
        lease, before = leases.get(charge["lease"]), by_dispatch[charge["lease"], body["dispatch"]]
        used = beyond(use_of(run, body), before)
        if charge["used"] != used:
            run.wrong("leases", f"{body['id']} charges {canonical(charge['used'])}, its load uses {canonical(used)}")
        add_use(before, used)
        add_use(sums[charge["lease"]], used)
        if lease is not None and is_above(lease, sums[charge["lease"]], used, body["kind"]):
            above.add(charge["lease"])
        if lease is None:
            run.wrong("leases", f"{body['id']} used {charge['lease']}, which the hub never granted")
            over.add(charge["lease"])
        elif lease["site"] != body["site"] or body["at"]["wall"] > lease["expires_at"]:
            run.wrong("leases", f"{body['id']} used {charge['lease']} at the wrong place or time")
            over.add(charge["lease"])
    for identifier in sorted(above):
        over.add(identifier)
        run.wrong("leases", f"{identifier} was used above its limits")
    return {"granted": len(leases), "used": len(sums), "over_limit": len(over)}


# Documents


def changes_of(run, name):
    """`{document: {hash: dependencies}}` of one store, with hashes recomputed from the changes themselves."""
    held = defaultdict(dict)
    for row in run.data[name]["changes"]:
        try:
            hash_, dependencies = chunks.change(row["bytes"])
        except ValueError as error:
            run.wrong("documents", f"{name} holds a damaged change of {row['document']}: {error}")
            continue
        if hash_ != row["hash"]:
            run.wrong("documents", f"{name} keeps change {hash_} of {row['document']} under another hash")
        held[row["document"]][hash_] = dependencies
    for document, changes in held.items():
        lacking = {d for dependencies in changes.values() for d in dependencies} - changes.keys() - {GENESIS}
        for hash_ in sorted(lacking):
            run.wrong("documents", f"{name} lacks change {hash_} of {document}")
    for row in run.data[name]["documents"]:
        if sorted(json.loads(row["heads"])) != chunks.heads(held[row["document"]]):
            run.wrong("documents", f"{name} claims other heads of {row['document']} than its changes have")
    return held


def check_convergence(run):
    """Whether every store has the hub's changes, heads and folded state of each document in its scope."""
    before = len(run.problems)
    hub = {row["document"]: row for row in run.hub["documents"]}
    views = {document: json.loads(row["view"]) for document, row in hub.items()}
    hub_changes = changes_of(run, "hub")
    for name in run.agents:
        store = run.stores[name]
        own = {row["document"]: row for row in run.data[name]["documents"]}
        own_changes = changes_of(run, name)
        for document, view in views.items():
            if not view:
                run.wrong("documents", f"the hub waits for the first chunks of {document}")
                continue
            in_scope = view["site"] == store["site"] or (
                store["vehicle"] is not None and view.get("vehicle") == store["vehicle"]
            )
            if in_scope and document not in own:
                run.wrong("documents", f"{name} lacks {document}")
        for document, row in own.items():
            if document not in hub:
                run.wrong("documents", f"the hub lacks {document} of {name}")
                continue
            ours, theirs = own_changes[document].keys(), hub_changes[document].keys()
            if theirs - ours:
                run.wrong("documents", f"{name} is {len(theirs - ours)} changes of {document} behind the hub")
            if ours - theirs:
                run.wrong("documents", f"the hub is {len(ours - theirs)} changes of {document} behind {name}")
            if sorted(json.loads(row["heads"])) != sorted(json.loads(hub[document]["heads"])):
                run.wrong("documents", f"{name} and the hub have other heads of {document}")
            elif canonical(json.loads(row["view"])) != canonical(views[document]):
                run.wrong("documents", f"{name} and the hub fold {document} to another state")
    return len(run.problems) == before


def check_departures(run):
    """What the documents say has left must be what physically left, each on a release that somebody signed."""
    departed = Counter()
    signed = {body["id"] for _, body in run.decisions if body["kind"] in RELEASES}
    for view in run.dispatches():
        if view["departed"] and (not view["release"] or view["release"]["decision"] not in signed):
            run.wrong("departures", f"{view['order']} left {view['site']} without a signed release")
        for part in (view["departed"] or {}).get("load", []):
            departed[view["order"], part["line"]] += part["quantity"]
    truth = run.moved("departed")
    for key in sorted(departed.keys() | truth.keys()):
        if departed[key] != truth[key]:
            run.wrong("departures", f"{key[0]} line {key[1]}: documents say {departed[key]}, physically {truth[key]}")


# Reconciliation


def check_recon(run):
    counts = {key: 0 for key in ("matched", "compensated", "accepted_variance", "escalated", "open")}
    for item in run.hub["recon"]:
        counts[item["outcome"] or "open"] += 1
    have = Counter(item["decision"] for item in run.hub["recon"])
    want = Counter(body["id"] for _, body in run.decisions)
    for decision in sorted(have.keys() | want.keys()):
        if have[decision] != want[decision]:
            run.wrong("recon", f"{decision} has {have[decision]} recon items, {want[decision]} are due")
    aims = [order["aim"] for order in run.orders.values() if order["aim"]]
    allowed = 0 if run.plan["people"] else sum(1 for aim in aims if aim["choice"])
    if counts["open"] != allowed:
        left = [f"{i['decision']} ({i['order_id']})" for i in run.hub["recon"] if i["outcome"] is None]
        run.wrong("recon", f"{counts['open']} items are open, {allowed} should be: {', '.join(left[:8])}")
    return counts


def settling(run):
    """How long items of releases took from decision to settlement, in pretend minutes, and what is still at stake."""
    bodies = {body["id"]: body for _, body in run.decisions if body["kind"] in RELEASES}
    items = [item for item in run.hub["recon"] if item["decision"] in bodies]
    took = sorted(
        max(0, item["closed_ms"] - bodies[item["decision"]]["at"]["wall"]) / 60_000 for item in items if item["outcome"]
    )
    for item in items:
        # What is opened again counts from then on.
        if item["since_ms"] is None or item["since_ms"] < bodies[item["decision"]]["at"]["wall"]:
            run.wrong("recon", f"{item['decision']} is measured from another time than its decision's")

    def nearest(share):
        return round(took[math.ceil(len(took) * share) - 1], 1) if took else None

    open_value = sum(item["value_minor"] for item in items if item["outcome"] is None)
    families = dict(sorted(Counter(item["family"] for item in items).items()))
    return {
        "families": families,
        "p50_minutes": nearest(0.5),
        "p90_minutes": nearest(0.9),
        "open_value_minor": open_value,
    }


def why_missed(run, order, aim):
    """Why an aimed case did not happen as written down beforehand; None if it did."""
    name, row = order["order"], aim["row"]
    bodies = {body["id"]: body for _, body in run.decisions}
    outcome = None if aim["choice"] and not run.plan["people"] else aim["outcome"]
    items = [i for i in run.hub["recon"] if i["order_id"] == name and i["row"] == row and i["outcome"] == outcome]
    if not items:
        seen = [(i["row"], i["outcome"]) for i in run.hub["recon"] if i["order_id"] == name]
        return f"no item with row {row} and outcome {outcome}; there are {seen}"
    body = bodies.get(items[0]["decision"])
    if body is None or body["kind"] not in RELEASES or body["mode"] != "offline" or body["lease"] is None:
        return "it was not released under a lease while cut off"
    if body["at"]["wall"] >= aim["changed_at"]:
        return "the ERP changed before the depot had released"
    left = sum(n["quantity"] for n in run.physical if n["order"] == name and n["moved"] == "departed")
    ordered = sum(line["quantity"] for line in order["lines"])
    states = [view["state"] for view in run.dispatches() if view["order"] == name and view["occurrence"] == 1]
    state = states[0] if states else None
    if row in (1, 2, 5):
        want_left, want_states = 0, {1: ("cancelled",), 2: ("aborted",), 5: ("held",)}[row]
    elif row == 7:
        want_left, want_states = ordered - order["lines"][0]["quantity"] + aim["quantity"], GONE
    else:
        want_left, want_states = ordered, GONE
    if left != want_left:
        return f"{left} units physically left, {want_left} should have"
    if state not in want_states:
        return f"its dispatch is {state}"
    return None


def check_aims(run):
    aimed = [order for order in run.orders.values() if order["aim"]]
    met = 0
    for order in aimed:
        why = why_missed(run, order, order["aim"])
        if why is None:
            met += 1
        else:
            aim = order["aim"]
            run.wrong("aimed", f"{order['order']} ({aim['change']}, {aim['standing']}, row {aim['row']}): {why}")
    return {"expected": len(aimed), "met": met}


def judge(folder):
    """Reads a run and gives its summary and what is wrong with it."""
    run = Run(folder)
    released = {mode: 0 for mode in ("normal", "degraded", "offline", "override")}
    held = set()
    for _, body in run.decisions:
        if body["kind"] in RELEASES:
            released[body["mode"]] += 1
        elif body["kind"] == "hold":
            held.add(body["dispatch"])
    cases = (json.loads(row["view"]) for row in run.hub["documents"] if row["kind"] == "case")
    positions = {(m["topic"].rsplit("/", 1)[-1], m["at_ms"]) for m in run.published if m["kind"] == "position"}
    summary = {
        "orders": len(run.orders),
        "released": released,
        "held": len(held),
        "cases": {"by_type": dict(sorted(Counter(view["case_type"] for view in cases if view).items()))},
        "recon": check_recon(run),
        "settling": settling(run),
        "readings": check_readings(run),
        "decisions": check_decisions(run),
        "leases": check_leases(run),
        "erp": check_erp(run),
        "aimed": check_aims(run),
        "converged": check_convergence(run),
        "outage_minutes": run.plan["outage_minutes"],
        "vehicles": len({vehicle for vehicle, _ in positions}),
        "fixes_replayed": len(positions),
        "start": run.plan["start"],
        "speed": run.plan["speed"],
    }
    check_departures(run)
    # What the plan was drawn for; without people nobody overrides.
    wanted = {mode: 3 for mode in released if run.plan["people"] or mode != "override"}
    for mode, least in wanted.items():
        if released[mode] < least:
            run.wrong("plan", f"only {released[mode]} releases were {mode}")
    if len(held) < 3:
        run.wrong("plan", f"only {len(held)} dispatches were held")
    return summary, run.problems


def main():
    parser = argparse.ArgumentParser(description="Judges a finished run of the demo from outside.")
    parser.add_argument("folder", help="folder of the run, as given to ./run demo --data")
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object")
    arguments = parser.parse_args()
    try:
        summary, problems = judge(arguments.folder)
    except (OSError, sqlite3.Error, json.JSONDecodeError) as error:
        print(f"{arguments.folder} cannot be read as a run: {error}", file=sys.stderr)
        return 2
    if arguments.json:
        print(json.dumps(summary))
    else:
        for key, value in summary.items():
            print(f"{key:<14} {value if not isinstance(value, dict) else canonical(value)}")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
