"""A finished run of the demo, read once: the generator's own lists, every store's rows, the ERP's log.

Nothing is judged here. Standard library only; shares nothing with the product.
"""

import json
import sqlite3
from collections import Counter
from pathlib import Path

from readings import readings_of

# Kinds of decision that let goods leave.
RELEASES = ("release", "override")


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def lines_of(path):
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def rows(path, query):
    """All rows of a query as dicts, read through a connection that cannot write."""
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=10)
    try:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(query)]
    finally:
        connection.close()


class Run:
    """Everything of one run, read once."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.plan = json.loads((self.folder / "plan.json").read_text(encoding="utf-8"))
        self.published = lines_of(self.folder / "published.jsonl")
        self.physical = lines_of(self.folder / "physical.jsonl")
        self.effects = lines_of(self.folder / self.plan["effects_log"])
        self.orders = {order["order"]: order for order in self.plan["orders"]}
        self.stores = {store["name"]: store for store in self.plan["stores"]}
        self.agents = [name for name, store in self.stores.items() if store["kind"] != "hub"]
        self.data = {}
        for name, store in self.stores.items():
            path = self.folder / store["file"]
            self.data[name] = self.read_hub(path) if store["kind"] == "hub" else self.read_agent(path)
        self.hub = self.data["hub"]
        self.decisions = []  # (agent, body) of every agent's own decisions
        for name in self.agents:
            self.decisions += [(name, json.loads(row["body"])) for row in self.data[name]["decisions"]]
        self.problems = []

    @staticmethod
    def read_agent(path):
        return {
            "readings": readings_of(path),
            "quarantine": rows(path, "SELECT topic, reason, payload_hash FROM quarantine"),
            "decisions": rows(
                path, "SELECT epoch, position, id, hash, body, signature FROM decisions ORDER BY epoch, position"
            ),
            "anchors": rows(path, "SELECT body, signature FROM anchors ORDER BY n"),
            "documents": rows(path, "SELECT document, kind, heads, view FROM documents"),
            "changes": rows(path, "SELECT document, hash, bytes FROM chunks"),
            "identity": {row["name"]: row["value"] for row in rows(path, "SELECT name, value FROM identity")},
        }

    @staticmethod
    def read_hub(path):
        return {
            "decisions": rows(
                path,
                "SELECT device, epoch, position, id, hash, body, signature FROM decisions"
                " ORDER BY device, epoch, position",
            ),
            "documents": rows(path, "SELECT document, kind, heads, view FROM documents"),
            "changes": rows(path, "SELECT document, hash, body AS bytes FROM ledger WHERE kind = 'chunk'"),
            "recon": rows(
                path,
                "SELECT decision, dispatch, order_id, row, family, outcome, since_ms, closed_ms, value_minor"
                " FROM recon_items",
            ),
            "postings": rows(path, "SELECT key, order_id, line, kind, quantity, state FROM postings"),
            "leases": rows(path, "SELECT id, site, body, signature, state FROM leases"),
            "devices": rows(path, "SELECT device, kind, public_key FROM devices"),
        }

    def wrong(self, where, what):
        self.problems.append(f"{where}: {what}")

    def dispatches(self):
        """Views of all dispatches at the hub."""
        views = (json.loads(row["view"]) for row in self.hub["documents"] if row["kind"] == "dispatch")
        return [view for view in views if view]

    def moved(self, what):
        """Units per (order, line) that physically departed or returned."""
        sums = Counter()
        for note in self.physical:
            if note["moved"] == what:
                sums[note["order"], note["line"]] += note["quantity"]
        return sums
