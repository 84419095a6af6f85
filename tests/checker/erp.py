"""What the ERP was told, compared with what physically left or came back.

Per order line and kind of effect the posted quantity must be the moved one, whatever the keys.
"""

from collections import Counter

from run import RELEASES


def invoice_wanted(run, order, line, departed, returned):
    """Units to be invoiced by the end of the run."""
    aim = run.orders[order]["aim"]
    if run.plan["people"] or aim is None or aim["choice"] is None or departed == 0:
        return departed - returned
    if aim["change"] == "cancel":
        return 0  # blocked until somebody answers
    return min(departed, aim["quantity"]) if line == 1 else departed


class Books:
    """Sums over the log of effects, and the count of what is too much or too little."""

    def __init__(self, run):
        self.run = run
        self.doubled = self.missing = 0
        self.posted, self.changes, self.whole, self.first = Counter(), Counter(), Counter(), {}
        for effect in run.effects:
            kind, order, line = effect["kind"], effect["order"], effect["line"]
            if kind in ("goods_issue", "return", "invoice", "credit_note"):
                self.posted[kind, order, line] += effect["quantity"] or 0
            elif kind == "order_change":
                self.changes[order, line, effect["quantity"], effect.get("status")] += 1
            elif kind in ("release", "void_release"):
                self.whole[kind, order] += 1
            self.first.setdefault((kind, order, line), effect["seq"])

    def compare(self, what, have, want):
        if have == want:
            return
        if have > want:
            self.doubled += 1
        else:
            self.missing += 1
        self.run.wrong("erp", f"{what}: posted {have}, should be {want}")

    def check_lines(self):
        """Goods issues, returns and invoices, by line."""
        run, posted = self.run, self.posted
        departed, returned = run.moved("departed"), run.moved("returned")
        lines = {(order, line["line"]) for order, planned in run.orders.items() for line in planned["lines"]}
        lines |= {(order, line) for _, order, line in posted}
        for order, line in sorted(lines, key=str):
            left, back = departed[order, line], returned[order, line]
            self.compare(f"{order} line {line} goods_issue", posted["goods_issue", order, line], left)
            self.compare(f"{order} line {line} return", posted["return", order, line], back)
            wanted = invoice_wanted(run, order, line, left, back) if order in run.orders else 0
            self.compare(f"{order} line {line} invoice", posted["invoice", order, line], wanted)
            # All goods of the day arrive whole, so that nothing is to be credited.
            self.compare(f"{order} line {line} credit_note", posted["credit_note", order, line], 0)
            issue, bill = (self.first.get((kind, order, line)) for kind in ("goods_issue", "invoice"))
            if bill is not None and (issue is None or issue > bill):
                run.wrong("erp", f"{order} line {line} was invoiced before its goods issue")

    def check_releases(self):
        """Releases and their recalls, by order."""
        run = self.run
        released = Counter(body["order"][0] for _, body in run.decisions if body["kind"] in RELEASES)
        recalled = Counter(
            item["order_id"]
            for item in run.hub["recon"]
            if item["outcome"] == "compensated" and item["row"] in (1, 2, 5, 7)
        )
        gone = {view["order"] for view in run.dispatches() if view["departed"]}
        for order in sorted(run.orders.keys() | {order for _, order in self.whole}):
            aim = run.orders.get(order, {}).get("aim")
            # A release may stay unposted where the ERP itself wanted otherwise before it was posted.
            least = 1 if order in gone and not (aim and aim["change"] == "cancel") else 0
            have = self.whole["release", order]
            self.compare(f"{order} release", have, min(max(have, least), released[order]))
            have = self.whole["void_release", order]
            self.compare(f"{order} void_release", have, min(max(have, recalled[order]), released[order]))

    def check_changes(self):
        """What a person accepted must be in the order, and nothing else."""
        departed, wanted = self.run.moved("departed"), Counter()
        for order, planned in self.run.orders.items():
            aim = planned["aim"]
            if self.run.plan["people"] and aim and aim["choice"] == "accept":
                is_cancel = aim["change"] == "cancel"
                change = (None, None, "released") if is_cancel else (1, departed[order, 1], None)
                wanted[order, *change] = 1
        for key in sorted(self.changes.keys() | wanted.keys(), key=str):
            self.compare(f"{key[0]} order_change {key[1:]}", self.changes[key], wanted[key])

    def check_both_sides(self):
        """What the hub holds for applied is what the ERP logged."""
        run = self.run
        log = Counter((e["reference"], e["order"], e["line"], e["kind"], e["quantity"]) for e in run.effects)
        applied = [posting for posting in run.hub["postings"] if posting["state"] == "applied"]
        queue = Counter((p["key"], p["order_id"], p["line"], p["kind"], p["quantity"]) for p in applied)
        for key in sorted(log.keys() | queue.keys(), key=str):
            if log[key] != queue[key]:
                run.wrong("erp", f"{key[0]}: {queue[key]} applied at the hub, {log[key]} in the ERP's log")
        for posting in run.hub["postings"]:
            # A release that the ERP did not take before it cancelled the order is taken back; it does without.
            aim = run.orders.get(posting["order_id"], {}).get("aim")
            is_cancelled = aim is not None and aim["change"] == "cancel"
            is_over = (posting["kind"], posting["state"]) == ("release", "withdrawn") and is_cancelled
            if posting["state"] != "applied" and not is_over:
                run.wrong("erp", f"{posting['key']} is {posting['state']}")


def check_erp(run):
    books = Books(run)
    books.check_lines()
    books.check_releases()
    books.check_changes()
    books.check_both_sides()
    return {"effects": len(run.effects), "doubled": books.doubled, "missing": books.missing}
