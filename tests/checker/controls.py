#!/usr/bin/env python3
"""Shows that the checker sees each kind of damage, and sees it for the right reason.

In: the folder of a good run (`./run demo --once --data DIR`). Each control copies it, damages the copy
in one way, and writes down beforehand what the checker must say. It must say all of that and nothing
else. The untouched copy must pass. Prints one line per control and `N passed, M failed`.
Standard library only.
"""

import base64
import hashlib
import json
import shutil
import sqlite3
import sys
import tempfile
from pathlib import Path

import check
import chunks
import ed25519
from readings import readings, readings_of, write
from run import lines_of


class Copy:
    """A copy of a run that a control may damage."""

    def __init__(self, folder):
        self.folder = folder
        self.plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
        self.files = {store["name"]: folder / store["file"] for store in self.plan["stores"]}
        self.one, self.other = [s["name"] for s in self.plan["stores"] if s["kind"] == "gateway"][:2]
        self.site = {order["order"]: order["site"] for order in self.plan["orders"]}

    def ask(self, name, query, *values):
        """Rows of one store as dicts."""
        connection = sqlite3.connect(self.files[name])
        connection.row_factory = sqlite3.Row
        found = [dict(row) for row in connection.execute(query, values)]
        connection.close()
        if not found:
            raise AssertionError(f"the run has nothing for: {query}")
        return found

    def change(self, name, statement, *values):
        """Changes one store; a control that changes nothing would prove nothing."""
        connection = sqlite3.connect(self.files[name])
        with connection:
            done = connection.execute(statement, values)
            if done.rowcount == 0:
                raise AssertionError(f"the control changed nothing: {statement}")
        connection.close()

    def put(self, name, table, row):
        marks = ", ".join("?" for _ in row)
        self.change(name, f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", *row.values())

    def readings(self, name, change):
        """Puts what `change` makes of each reading into its place."""
        connection = sqlite3.connect(self.files[name])
        with connection:
            before = readings(connection)
            after = [new for old in before for new in change(old)]
            if after == before:
                raise AssertionError("the control changed no reading")
            write(connection, after)
        connection.close()

    def effects(self):
        return lines_of(self.folder / self.plan["effects_log"])

    def write_effects(self, effects):
        text = "".join(json.dumps(effect) + "\n" for effect in effects)
        (self.folder / self.plan["effects_log"]).write_text(text, encoding="utf-8")

    def plain_release(self):
        """A record of a release by rule, of an order that nothing is aimed at and that has left since."""
        aimed = {order["order"] for order in self.plan["orders"] if order["aim"]}
        left = {note["order"] for note in lines_of(self.folder / "physical.jsonl")}
        query = "SELECT * FROM decisions WHERE json_extract(body, '$.kind') = 'release' ORDER BY position"
        for row in self.ask(self.one, query):
            order = json.loads(row["body"])["order"][0]
            if order in left - aimed:
                return row, order
        raise AssertionError("no plain release")


# Readings


def one_reading(copy):
    return next(reading for reading in readings_of(copy.files[copy.one]) if reading["kind"] == "scan")


def reading_removed(copy):
    reading = one_reading(copy)
    copy.readings(copy.one, lambda r: [] if r == reading else [r])
    return [f"{copy.one} lost reading {reading['reading_id']} of"]


def reading_doubled(copy):
    reading = one_reading(copy)
    copy.readings(copy.one, lambda r: [r, r] if r == reading else [r])
    return [f"{copy.one} has reading {reading['reading_id']} 2 times"]


def reading_altered(copy):
    reading = one_reading(copy)
    value = reading["value"] | {"quantity": reading["value"]["quantity"] + 1000}
    copy.readings(copy.one, lambda r: [r | {"value": value}] if r == reading else [r])
    return [f"{copy.one} has reading {reading['reading_id']} with another content ['quantity']"]


def reading_with_another_payload(copy):
    reading = one_reading(copy)
    hash_ = hashlib.sha256(b"another").hexdigest()
    copy.readings(copy.one, lambda r: [r | {"payload_hash": hash_}] if r == reading else [r])
    identifier = reading["reading_id"]
    return [f"{copy.one} has reading {identifier} that was never published so", f"{copy.one} lost reading {identifier} of"]


def reading_moved_to_another_depot(copy):
    reading = one_reading(copy)
    copy.readings(copy.one, lambda r: [] if r == reading else [r])
    first = readings_of(copy.files[copy.other])[0]
    copy.readings(copy.other, lambda r: [r, reading] if r == first else [r])
    identifier = reading["reading_id"]
    return [f"{copy.one} lost reading {identifier} of", f"{copy.other} has reading {identifier} that belongs to {copy.one}"]


# Decisions


def decision_removed_at_the_hub(copy):
    row = copy.ask("hub", "SELECT * FROM decisions ORDER BY n DESC LIMIT 1")[0]
    copy.change("hub", "DELETE FROM decisions WHERE n = ?", row["n"])
    return [f"decisions: {row['device']} and the hub differ on record {row['position']} of epoch {row['epoch']}"]


def decision_removed_at_both(copy):
    row, order = copy.plain_release()
    for name in (copy.one, "hub"):
        copy.change(name, "DELETE FROM decisions WHERE id = ?", row["id"])
    following = f"{copy.one} record {row['position'] + 1}"
    return [
        f"decisions: {following} stands where {row['position']} belongs",
        f"decisions: {following} does not follow the one before it",
        f"departures: {order} left {copy.site[order]} without a signed release",
        f"recon: {row['id']} has 1 recon items",
        f"erp: {order} release: posted 1, should be 0",
    ]


def decision_doubled(copy):
    row, _ = copy.plain_release()
    last = copy.ask(copy.one, "SELECT max(position) AS n FROM decisions")[0]["n"]
    copy.put(copy.one, "decisions", row | {"position": last + 1, "id": row["id"] + "x"})
    return [
        f"decisions: {copy.one} record {last + 1} holds the text of {row['id']}",
        f"decisions: {copy.one} record {last + 1} does not follow the one before it",
        f"decisions: {copy.one} and the hub differ on record {last + 1} of epoch {row['epoch']}",
        f"decisions: {row['id']} releases what {row['id']} had released already",
        f"leases: {row['id']} charges",
        f"recon: {row['id']} has 1 recon items, 2 are due",
    ]


def decision_altered(copy):
    # At both sides and with a hash that fits: only the signature and the next record tell.
    row, _ = copy.plain_release()
    body = row["body"].replace('"reason":"', '"reason":"not so: ')
    hash_ = hashlib.sha256(body.encode("utf-8")).hexdigest()
    for name in (copy.one, "hub"):
        copy.change(name, "UPDATE decisions SET body = ?, hash = ? WHERE id = ?", body, hash_, row["id"])
    return [
        f"decisions: {copy.one} record {row['position']} is not signed by its device",
        f"decisions: {copy.one} record {row['position'] + 1} does not follow the one before it",
    ]


def receipt_altered(copy):
    row = copy.ask(copy.one, "SELECT * FROM anchors ORDER BY n DESC LIMIT 1")[0]
    copy.change(copy.one, "UPDATE anchors SET signature = ? WHERE n = ?", base64.b64encode(bytes(64)).decode(), row["n"])
    what = f"{copy.one} has a receipt for record {row['position']} of epoch {row['epoch']}"
    return [f"decisions: {what} that the hub did not sign"]


def decision_moved_to_another_depot(copy):
    row = copy.ask(copy.one, "SELECT * FROM decisions ORDER BY epoch DESC, position DESC LIMIT 1")[0]
    last = copy.ask(copy.other, "SELECT max(position) AS n FROM decisions")[0]["n"]
    copy.change(copy.one, "DELETE FROM decisions WHERE id = ?", row["id"])
    copy.put(copy.other, "decisions", row | {"position": last + 1})
    return [
        f"decisions: {copy.other} record {last + 1} belongs to another chain",
        f"decisions: {copy.other} record {last + 1} is not signed by its device",
        f"decisions: {copy.other} record {last + 1} does not follow the one before it",
        f"decisions: {copy.other} record {last + 1} speaks for",
        f"decisions: {copy.one} and the hub differ on record {row['position']} of",
        f"decisions: {copy.other} and the hub differ on record {last + 1} of",
    ]


def release_above_its_lease(copy):
    # The hub grants less than was used, and signs it: only the sum is wrong.
    leases = {row["id"]: row for row in copy.ask("hub", "SELECT * FROM leases")}
    lease = leases[json.loads(copy.plain_release()[0]["body"])["lease"]["lease"]]
    body = json.dumps(json.loads(lease["body"]) | {"value_ceiling_minor": 1}, separators=(",", ":"))
    seed = base64.b64decode((copy.files["hub"].parent / "hub.key").read_text(encoding="ascii"))
    signature = base64.b64encode(ed25519.sign(seed, body.encode("utf-8"))).decode("ascii")
    copy.change("hub", "UPDATE leases SET body = ?, signature = ? WHERE id = ?", body, signature, lease["id"])
    return [f"leases: {lease['id']} was used above its limits"]


# Postings


def one_issue(copy):
    """A goods issue that is the only one of its line, and the log with it."""
    effects = copy.effects()
    aimed = {order["order"] for order in copy.plan["orders"] if order["aim"]}
    plain = (e for e in effects if e["kind"] == "goods_issue" and e["order"] not in aimed and e["line"] == 1)
    return effects, next(plain)


def amounts(effect, posted, due):
    return f"erp: {effect['order']} line {effect['line']} {effect['kind']}: posted {posted}, should be {due}"


def told(effect, at_hub, in_log):
    return f"erp: {effect['reference']}: {at_hub} applied at the hub, {in_log} in the ERP's log"


def posting_removed(copy):
    effects, issue = one_issue(copy)
    effects.remove(issue)
    copy.write_effects(effects)
    bill = f"erp: {issue['order']} line {issue['line']} was invoiced before its goods issue"
    return [amounts(issue, 0, issue["quantity"]), told(issue, 1, 0), bill]


def posting_doubled(copy):
    effects, issue = one_issue(copy)
    copy.write_effects([*effects, issue | {"seq": len(effects) + 1}])
    return [amounts(issue, 2 * issue["quantity"], issue["quantity"]), told(issue, 1, 2)]


def posting_altered(copy):
    effects, issue = one_issue(copy)
    quantity = issue["quantity"]
    issue["quantity"] += 1
    copy.write_effects(effects)
    return [amounts(issue, quantity + 1, quantity), told(issue, 1, 0), told(issue, 0, 1)]


def posting_moved_to_another_depot(copy):
    effects, issue = one_issue(copy)
    was = dict(issue)
    posted = {(e["order"], e["line"]): e["quantity"] for e in effects if e["kind"] == "goods_issue"}
    issue["order"] = next(order for order, line in posted if line == 1 and copy.site[order] != copy.site[was["order"]])
    due = posted[issue["order"], 1]
    copy.write_effects(effects)
    bill = f"erp: {was['order']} line 1 was invoiced before its goods issue"
    return [
        amounts(was, 0, was["quantity"]),
        amounts(issue, due + was["quantity"], due),
        told(was, 1, 0),
        told(issue, 0, 1),
        bill,
    ]


def credit_note_that_nobody_chose(copy):
    effects, issue = one_issue(copy)
    key = issue["reference"] + "/note"
    note = issue | {"seq": len(effects) + 1, "kind": "credit_note", "reference": key, "amount_minor": 1}
    copy.write_effects([*effects, note])
    return [amounts(note, note["quantity"], 0), told(note, 0, 1)]


def item_measured_from_another_time(copy):
    item = copy.ask("hub", "SELECT decision FROM recon_items WHERE family = 'cancel'")[0]["decision"]
    copy.change("hub", "UPDATE recon_items SET since_ms = 0 WHERE decision = ?", item)
    return [f"recon: {item} is measured from another time than its decision's"]


def posting_under_a_second_key(copy):
    # Hub and ERP agree on it; only what physically left tells.
    effects, issue = one_issue(copy)
    again = issue | {"seq": len(effects) + 1, "reference": issue["reference"] + "/again"}
    copy.write_effects([*effects, again])
    row = copy.ask("hub", "SELECT * FROM postings WHERE key = ?", issue["reference"])[0]
    last = copy.ask("hub", "SELECT max(n) AS n FROM postings")[0]["n"]
    copy.put("hub", "postings", row | {"n": last + 1, "key": again["reference"]})
    return [amounts(issue, 2 * issue["quantity"], issue["quantity"])]


def release_withdrawn_though_its_order_stands(copy):
    order = one_issue(copy)[1]["order"]
    release = next(e for e in copy.effects() if e["kind"] == "release" and e["order"] == order)
    copy.change("hub", "UPDATE postings SET state = 'withdrawn' WHERE key = ?", release["reference"])
    return [told(release, 0, 1), f"erp: {release['reference']} is withdrawn"]


# Documents


def newest_change(copy, name, table, kind):
    """One document of a kind, its newest change there, and the heads it had before."""
    for row in copy.ask(name, "SELECT document, heads FROM documents WHERE kind = ? ORDER BY document", kind):
        heads = json.loads(row["heads"])
        column = "body" if table == "ledger" else "bytes"
        query = f"SELECT {column} AS bytes FROM {table} WHERE document = ?"
        changes = dict(chunks.change(found["bytes"]) for found in copy.ask(name, query, row["document"]))
        if len(changes) > 1:
            changes.pop(heads[0])
            return row["document"], heads[0], json.dumps(chunks.heads(changes))
    raise AssertionError(f"no {kind} of {name} has two changes")


def depot_a_change_behind(copy):
    document, hash_, heads = newest_change(copy, copy.one, "chunks", "dispatch")
    copy.change(copy.one, "DELETE FROM chunks WHERE document = ? AND hash = ?", document, hash_)
    copy.change(copy.one, "UPDATE documents SET heads = ? WHERE document = ?", heads, document)
    return [
        f"documents: {copy.one} is 1 changes of {document} behind the hub",
        f"documents: {copy.one} and the hub have other heads of {document}",
    ]


def hub_a_change_behind(copy):
    document, hash_, heads = newest_change(copy, "hub", "ledger", "case")
    copy.change("hub", "DELETE FROM ledger WHERE document = ? AND hash = ?", document, hash_)
    copy.change("hub", "UPDATE documents SET heads = ? WHERE document = ?", heads, document)
    return [
        f"documents: the hub is 1 changes of {document} behind",
        f"and the hub have other heads of {document}",
    ]


def depot_that_claims_a_change_it_lacks(copy):
    document, hash_, _ = newest_change(copy, copy.one, "chunks", "dispatch")
    copy.change(copy.one, "DELETE FROM chunks WHERE document = ? AND hash = ?", document, hash_)
    return [
        f"documents: {copy.one} claims other heads of {document} than its changes have",
        f"documents: {copy.one} is 1 changes of {document} behind the hub",
    ]


def state_a_change_behind(copy):
    query = "SELECT document FROM documents WHERE kind = 'dispatch' AND json_extract(view, '$.state') <> 'planned'"
    document = copy.ask(copy.one, query)[0]["document"]
    copy.change(copy.one, "UPDATE documents SET view = json_set(view, '$.state', 'planned') WHERE document = ?", document)
    return [f"documents: {copy.one} and the hub fold {document} to another state"]


CONTROLS = [
    reading_removed,
    reading_doubled,
    reading_altered,
    reading_with_another_payload,
    reading_moved_to_another_depot,
    decision_removed_at_the_hub,
    decision_removed_at_both,
    decision_doubled,
    decision_altered,
    receipt_altered,
    decision_moved_to_another_depot,
    release_above_its_lease,
    posting_removed,
    posting_doubled,
    posting_altered,
    posting_moved_to_another_depot,
    credit_note_that_nobody_chose,
    item_measured_from_another_time,
    posting_under_a_second_key,
    release_withdrawn_though_its_order_stands,
    depot_a_change_behind,
    hub_a_change_behind,
    depot_that_claims_a_change_it_lacks,
    state_a_change_behind,
]


def judge_damage(control, good, place):
    """Damages a copy in `place`; gives what is wrong with how the checker took it, or None."""
    folder = place / "run"
    shutil.copytree(good, folder, ignore=shutil.ignore_patterns("logs"))
    try:
        due = control(Copy(folder))
        _, problems = check.judge(folder)
    except (AssertionError, sqlite3.Error, StopIteration, KeyError) as error:
        return f"the damage could not be done: {error!r}"
    unseen = [words for words in due if not any(words in problem for problem in problems)]
    if unseen:
        return f"the checker does not say {unseen[0]!r}; it says {problems[:4]}"
    beside = [problem for problem in problems if not any(words in problem for words in due)]
    return f"the checker also says {beside[0]!r}" if beside else None


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print("usage: controls.py DIR, the folder of a good run", file=sys.stderr)
        return 2
    good = Path(sys.argv[1])
    ed25519.self_check()
    try:
        _, problems = check.judge(good)
    except (OSError, sqlite3.Error, json.JSONDecodeError) as error:
        print(f"{good} cannot be read as a run: {error}", file=sys.stderr)
        return 2
    passed = failed = 0
    for name, wrong in [("untouched run", problems[0] if problems else None), *((c, None) for c in CONTROLS)]:
        if callable(name):
            with tempfile.TemporaryDirectory() as place:
                wrong = judge_damage(name, good, Path(place))
            name = name.__name__.replace("_", " ")
        if wrong is None:
            print(f"ok      {name}", flush=True)
            passed += 1
        else:
            print(f"FAILED  {name}: {wrong}", flush=True)
            failed += 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
