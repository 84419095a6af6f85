#!/usr/bin/env python3
"""Shows that the checker sees each kind of damage.

In: the folder of a good run (`./run demo --once --data DIR`). Each control copies it, damages the
copy in one way and asks the checker; it must find the damage and name the part that was damaged. The
untouched copy must pass. Prints one line per control and `N passed, M failed`. Standard library only.
"""

import json
import shutil
import sqlite3
import sys
import tempfile
from pathlib import Path

import check


def change(folder, name, *statements):
    """Runs SQL on one store of a copy."""
    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    file = next(store["file"] for store in plan["stores"] if store["name"] == name)
    connection = sqlite3.connect(folder / file)
    with connection:
        for statement in statements:
            done = connection.execute(*statement) if isinstance(statement, tuple) else connection.execute(statement)
            if done.rowcount == 0:
                raise AssertionError(f"the control changed nothing: {statement}")
    connection.close()


def gateways(folder):
    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    return [store["name"] for store in plan["stores"] if store["kind"] == "gateway"]


def edit_effects(folder, edit):
    path = folder / json.loads((folder / "plan.json").read_text(encoding="utf-8"))["effects_log"]
    effects = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    edit(effects)
    path.write_text("".join(json.dumps(effect) + "\n" for effect in effects), encoding="utf-8")


def move_row(folder, table, source, target, key):
    """Takes one row out of one store and puts it at the end of another."""
    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    file = {store["name"]: folder / store["file"] for store in plan["stores"]}
    giver, taker = sqlite3.connect(file[source]), sqlite3.connect(file[target])
    giver.row_factory = sqlite3.Row
    with giver, taker:
        row = dict(giver.execute(f"SELECT * FROM {table} ORDER BY position DESC LIMIT 1").fetchone())
        giver.execute(f"DELETE FROM {table} WHERE {key} = ?", (row[key],))
        row["position"] = taker.execute(f"SELECT max(position) + 1 FROM {table}").fetchone()[0]
        marks = ", ".join("?" for _ in row)
        taker.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))
    giver.close()
    taker.close()


ONE_READING = "(SELECT position FROM readings WHERE kind = 'scan' ORDER BY position LIMIT 1)"
ONE_DECISION = "(SELECT position FROM decisions WHERE json_extract(body, '$.kind') = 'release' ORDER BY position LIMIT 1)"


def reading_removed(folder):
    change(folder, gateways(folder)[0], f"DELETE FROM readings WHERE position = {ONE_READING}")


def reading_doubled(folder):
    change(
        folder,
        gateways(folder)[0],
        "DROP INDEX readings_by_id",
        "INSERT INTO readings SELECT (SELECT max(position) + 1 FROM readings), source, reading_id, at_ms, kind,"
        f" payload_hash, body, received, checksum FROM readings WHERE position = {ONE_READING}",
    )


def reading_altered(folder):
    change(
        folder,
        gateways(folder)[0],
        "UPDATE readings SET body = replace(body, '\"quantity\":', '\"quantity\":1')"
        f" WHERE position = {ONE_READING}",
    )


def reading_moved(folder):
    one, other = gateways(folder)[:2]
    move_row(folder, "readings", one, other, "position")


def decision_removed(folder):
    change(folder, "hub", "DELETE FROM decisions WHERE n = (SELECT max(n) FROM decisions)")


def decision_doubled(folder):
    change(
        folder,
        gateways(folder)[0],
        "INSERT INTO decisions SELECT epoch, (SELECT max(position) + 1 FROM decisions), id || 'x', hash, body,"
        f" signature, checksum FROM decisions WHERE position = {ONE_DECISION} LIMIT 1",
    )


def decision_altered(folder):
    # At both sides, with a hash that fits: only the signature tells.
    one = gateways(folder)[0]
    for name, where in ((one, ""), ("hub", f" AND device = '{one}'")):
        change(
            folder,
            name,
            "UPDATE decisions SET body = replace(body, '\"reason\":\"', '\"reason\":\"not so: ')"
            f" WHERE id = (SELECT id FROM decisions WHERE json_extract(body, '$.kind') = 'release'{where}"
            " ORDER BY position LIMIT 1)",
        )


def decision_moved(folder):
    one, other = gateways(folder)[:2]
    move_row(folder, "decisions", one, other, "id")


def first_issue(effects):
    return next(effect for effect in effects if effect["kind"] == "goods_issue")


def posting_removed(folder):
    edit_effects(folder, lambda effects: effects.remove(first_issue(effects)))


def posting_doubled(folder):
    edit_effects(folder, lambda effects: effects.append(dict(first_issue(effects), seq=len(effects) + 1)))


def posting_altered(folder):
    def edit(effects):
        first_issue(effects)["quantity"] += 1

    edit_effects(folder, edit)


def posting_moved(folder):
    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    site = {order["order"]: order["site"] for order in plan["orders"]}

    def edit(effects):
        issue = first_issue(effects)
        issue["order"] = next(order for order, where in site.items() if where != site[issue["order"]])

    edit_effects(folder, edit)


def posting_under_a_second_key(folder):
    def edit(effects):
        again = dict(first_issue(effects), seq=len(effects) + 1)
        again["reference"] += "/again"
        effects.append(again)
        order, line, quantity = again["order"], again["line"], again["quantity"]
        change(
            folder,
            "hub",
            (
                "INSERT INTO postings (key, decision, order_id, line, kind, quantity, state, next_try_ms, body)"
                " VALUES (?, 'x', ?, ?, 'goods_issue', ?, 'applied', 0, '{}')",
                (again["reference"], order, line, quantity),
            ),
        )

    edit_effects(folder, edit)


def release_above_its_lease(folder):
    # The lease is made smaller than what was used; the release itself stays as it was signed.
    change(
        folder,
        "hub",
        "UPDATE leases SET body = json_set(body, '$.value_ceiling_minor', 1) WHERE id IN (SELECT"
        " json_extract(body, '$.lease.lease') FROM decisions WHERE json_extract(body, '$.kind') = 'release')",
    )


def document_a_change_behind(folder):
    change(
        folder,
        gateways(folder)[0],
        "UPDATE documents SET heads = '[\"' || hex(zeroblob(32)) || '\"]'"
        " WHERE document = (SELECT min(document) FROM documents WHERE kind = 'dispatch')",
    )


def view_a_change_behind(folder):
    change(
        folder,
        gateways(folder)[0],
        "UPDATE documents SET view = json_set(view, '$.state', 'planned') WHERE document ="
        " (SELECT min(document) FROM documents WHERE kind = 'dispatch' AND json_extract(view, '$.state') <> 'planned')",
    )


# Each control with the part of the checker that must find it.
CONTROLS = [
    (reading_removed, "readings: "),
    (reading_doubled, "readings: "),
    (reading_altered, "readings: "),
    (reading_moved, "readings: "),
    (decision_removed, "decisions: "),
    (decision_doubled, "decisions: "),
    (decision_altered, "decisions: "),
    (decision_moved, "decisions: "),
    (posting_removed, "erp: "),
    (posting_doubled, "erp: "),
    (posting_altered, "erp: "),
    (posting_moved, "erp: "),
    (posting_under_a_second_key, "erp: "),
    (release_above_its_lease, "was used above its limits"),
    (document_a_change_behind, "have other heads"),
    (view_a_change_behind, "to another state"),
]


def main():
    if len(sys.argv) != 2:
        print("usage: controls.py DIR, the folder of a good run", file=sys.stderr)
        return 2
    good = Path(sys.argv[1])
    passed = failed = 0
    _, problems = check.judge(good)
    if problems:
        print(f"FAILED  untouched run: {problems[0]}")
        failed += 1
    else:
        print("ok      untouched run passes")
        passed += 1
    for control, sign in CONTROLS:
        name = control.__name__.replace("_", " ")
        with tempfile.TemporaryDirectory() as place:
            copy = Path(place) / "run"
            shutil.copytree(good, copy, ignore=shutil.ignore_patterns("logs"))
            try:
                control(copy)
                _, problems = check.judge(copy)
            except (AssertionError, sqlite3.Error, StopIteration) as error:
                print(f"FAILED  {name}: the damage could not be done: {error!r}")
                failed += 1
                continue
        found = [problem for problem in problems if sign in problem]
        if found:
            print(f"ok      {name}: {found[0]}")
            passed += 1
        else:
            print(f"FAILED  {name}: the checker did not see it")
            failed += 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
