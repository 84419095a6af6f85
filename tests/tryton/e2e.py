#!/usr/bin/env python3
"""e2e.py: a real Tryton, a hub, a depot with its broker, and an outage between them. Standard library only.

Two orders are confirmed in Tryton. The line between depot and hub is cut before their last gate is met; both
are released under the lease. One is loaded and leaves; the other is cancelled in Tryton before it is loaded.
After the line has returned, Tryton must hold one done shipment and one invoice for the first, nothing for the
second, and the second must stand at the hub as a compensated item with a case.

Environment: PROGRAMS, the folder of gatehouse-agent and gatehouse-hub; KEEP=1 leaves logs and stores behind.
Prints a line for each check and last "N passed, M failed", or "SKIPPED: reason"; status 0 if none failed.
"""
import copy
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

import programs
import tryton
from programs import Gateway, Hub, Line, Programs, Sensors, Trouble, rows, until

HERE = pathlib.Path(__file__).resolve().parent

# Named beforehand, so that one that was never reached counts as failed.
CHECKS = [
    "an order confirmed in Tryton reaches the depot",
    "a second order reaches it too",
    "what WMS and TMS say reaches the depot",
    "no order is released while a gate is open",
    "the depot holds a lease before the line is cut",
    "the first order is released offline while the line is cut",
    "the second order is released offline while the line is cut",
    "the first order is loaded and leaves while the line is cut",
    "nothing is posted before the line returns",
    "the first order is matched after the line returned",
    "the second order is compensated, as row 1",
    "the second order has a case",
    "the depot has taken its release of the second order back",
    "every posting is applied and none is dead",
    "Tryton holds one done shipment and one invoice for the first order, nothing for the second",
    "nothing more is posted afterwards",
    "control: a planted second invoice is found",
    "control: a planted second shipment is found",
    "control: a missing shipment and a wrong quantity are found",
]
FIRST = [("P1", 4), ("P2", 2)]
SECOND = [("P1", 3)]


class Report:
    def __init__(self):
        self.results = {}

    def check(self, name, ok, detail=""):
        assert name in CHECKS and name not in self.results, name
        self.results[name] = bool(ok)
        print(f"{'ok  ' if ok else 'FAIL'}  {name}" + (f": {detail}" if detail and not ok else ""), flush=True)

    def wait(self, name, look, seconds):
        """A check that may take time; gives what `look` found, and ends the test if it finds nothing."""
        try:
            found = until(name, look, seconds)
        except Trouble as trouble:
            self.check(name, False, str(trouble))
            raise
        self.check(name, True)
        return found

    def finish(self):
        for name in CHECKS:
            if name not in self.results:
                self.check(name, False, "not reached")
        passed = sum(self.results.values())
        print(f"{passed} passed, {len(CHECKS) - passed} failed", flush=True)
        return 0 if passed == len(CHECKS) else 1


def skip(reason):
    print(f"SKIPPED: {len(CHECKS)} checks with a real Tryton: {reason}")
    return 0


class Scene:
    def __init__(self, directory, binaries, server, report):
        self.report, self.directory = report, directory
        self.admin = tryton.Tryton(server, "admin")
        self.programs = Programs(directory)
        self.sensors = Sensors(self.programs, directory)
        self.hub = Hub(self.programs, directory, binaries / "gatehouse-hub", server)
        self.line = Line(self.hub.port)
        self.gateway = Gateway(self.programs, directory, binaries / "gatehouse-agent", self.sensors, self.line, self.hub)

    def play(self):
        self.hub.start()
        self.gateway.start()
        self.first, self.second = self.confirm_orders()
        self.meet_all_gates_but_the_last()
        self.cut_and_release()
        self.first_leaves()
        self.return_and_settle()
        self.plant_controls()

    # --- the day ---

    def confirm_orders(self):
        self.sales = [self.admin.confirm_sale("C1", "D1", FIRST, "PO-1", **self.terms(1)),
                      self.admin.confirm_sale("C2", "D1", SECOND, "PO-2", **self.terms(2))]
        numbers = [self.admin.sale(sale)["number"] for sale in self.sales]
        names = iter(CHECKS[:2])
        return [self.report.wait(next(names), lambda n=number: self.gateway.dispatch(n), 60) for number in numbers]

    def terms(self, door):
        """What of an order Tryton knows only in words: lines in its comment."""
        departure = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2 * 3600))
        return {"comment": f"Ring twice.\nvehicle: V{door}\ncarrier: ACME\ndoor: {door}\ndeparture: {departure}"}

    def meet_all_gates_but_the_last(self):
        for dispatch in (self.first, self.second):
            order = dispatch["order"]
            for line in dispatch["load"]:
                self.hub.event("wms", "inventory", order, line=line["line"], confirmed=line["quantity"])
                if line is not dispatch["load"][-1]:
                    self.sensors.scan("staged", order, line["line"], line["quantity"])
            self.hub.event("tms", "capacity", order, sufficient=True, vehicle=dispatch["vehicle"])
            self.hub.event("tms", "carrier", order, accepted=True, carrier=dispatch["carrier"])
            self.sensors.papers(order)
            self.sensors.bay(dispatch["door"], None)
            self.sensors.door(dispatch["door"], False)
        # A vehicle seen in the yard before it is seen outside: leaving needs both.
        for dispatch in (self.first, self.second):
            for age in (60, 50):
                self.sensors.fix(dispatch["vehicle"], *Gateway.YARD, time.time() - age)

        # The store keeps facts in a form of its own, so the page is asked.
        def all_known():
            gates = [self.open_gates(d["order"]) for d in (self.first, self.second)]
            return all(gate == ["cargo"] for gate in gates)
        self.report.wait("what WMS and TMS say reaches the depot", all_known, 60)
        states = [self.gateway.dispatch(d["order"])["release"] for d in (self.first, self.second)]
        self.report.check("no order is released while a gate is open", states == [None, None], states)
        self.report.wait("the depot holds a lease before the line is cut", self.gateway.has_lease, 60)

    def cut_and_release(self):
        self.line.cut()
        time.sleep(5)  # longer than hub_silence_max_ms: the depot must know that it is cut off
        for name, dispatch in zip(("first", "second"), (self.first, self.second)):
            last = dispatch["load"][-1]
            self.sensors.scan("staged", dispatch["order"], last["line"], last["quantity"])

            def released():
                release = self.gateway.dispatch(dispatch["order"])["release"]
                return release and release["mode"] == "offline"
            self.report.wait(f"the {name} order is released offline while the line is cut", released, 30)

    def first_leaves(self):
        order, vehicle, door = (self.first[key] for key in ("order", "vehicle", "door"))
        # Cancelled in Tryton while only the depot knows that it is released.
        self.admin.cancel_shipments(self.sales[1])
        self.sensors.bay(door, vehicle)
        self.sensors.door(door, True)
        for line in self.first["load"]:
            self.sensors.scan("loaded", order, line["line"], line["quantity"])
        self.sensors.door(door, False)
        self.sensors.seal(vehicle)
        until("the first order is loaded", lambda: self.gateway.dispatch(order)["loaded_at"], 30)
        self.sensors.bay(door, None)
        lat, lon = Gateway.YARD
        # Seen outside only after it was loaded, and no faster than a vehicle drives: other fixes are not believed.
        for step in range(3):
            time.sleep(1.5)
            self.sensors.fix(vehicle, lat + 0.005 + 0.0003 * step, lon, time.time())
        self.report.wait("the first order is loaded and leaves while the line is cut",
                         lambda: self.gateway.dispatch(order)["departed"], 30)
        posted = tryton.books(self.admin)
        self.report.check("nothing is posted before the line returns",
                          not posted and not self.hub.recon(order) and not self.hub.postings(), posted)

    def return_and_settle(self):
        self.line.restore()
        first, second = self.first["order"], self.second["order"]

        def settled(order, outcome):
            # Holds and recalls are items too; a release has a row or postings.
            items = [item for item in self.hub.recon(order) if self.is_release(item)]
            return items if items and all(item["outcome"] == outcome for item in items) else None
        self.report.wait("the first order is matched after the line returned", lambda: settled(first, "matched"), 120)
        items = self.report.wait("the second order is compensated, as row 1",
                                 lambda: [i for i in settled(second, "compensated") or [] if i["row"] == 1], 120)
        case = json.loads(items[0]["body"]).get("case")
        self.report.check("the second order has a case", case and rows(
            self.hub.database, "SELECT document FROM documents WHERE kind = 'case' AND document = ?", case), items[0])
        self.report.wait("the depot has taken its release of the second order back",
                         lambda: self.gateway.dispatch(second)["state"] == "cancelled", 60)
        postings = self.hub.postings()
        self.report.check("every posting is applied and none is dead",
                          postings and all(p["state"] == "applied" for p in postings), postings)
        self.expected = dict(zip(self.sales, (dict(FIRST), {})))
        told = tryton.faults(tryton.books(self.admin), self.expected)
        self.report.check("Tryton holds one done shipment and one invoice for the first order, nothing for the second",
                          not told, told)
        time.sleep(8)  # some polls later
        told = tryton.faults(tryton.books(self.admin), self.expected)
        again = self.hub.postings()
        self.report.check("nothing more is posted afterwards", not told and again == postings, told or again)

    # --- controls: the checker must see what is wrong ---

    def plant_controls(self):
        def found(fault):
            told = tryton.faults(tryton.books(self.admin), self.expected)
            return any(fault in line for line in told), told
        sale = self.sales[0]
        good = tryton.books(self.admin)
        for kind, plant in (("invoice", self.admin.plant_invoice), ("shipment", self.admin.plant_shipment)):
            plant(sale, *FIRST[0])
            self.report.check(f"control: a planted second {kind} is found", *found(f"has 2 {kind}(s), not 1"))
        none = [document for document in good if document["kind"] != "shipment"]
        altered = copy.deepcopy(good)
        altered[0]["units"]["P1"] += 1
        sees = [tryton.faults(books, self.expected) for books in (good, none, altered)]
        self.report.check("control: a missing shipment and a wrong quantity are found",
                          not sees[0] and sees[1] and sees[2], sees)

    # --- looking ---

    def open_gates(self, order):
        board = programs.ask(f"http://127.0.0.1:{self.gateway.port}/api/dispatches/{self.gateway.dispatch(order)['document']}")
        return sorted(gate["gate"] for gate in board["gates"] if gate["state"] != "pass")

    def is_release(self, item):
        decision, = rows(self.hub.database, "SELECT body FROM decisions WHERE id = ?", item["decision"])
        return json.loads(decision["body"])["kind"] in ("release", "override")


def main():
    binaries = os.environ.get("PROGRAMS")
    if not binaries:
        sys.exit("name the folder of the built programs in PROGRAMS, or use tests/tryton/run")
    if not shutil.which("mosquitto_pub"):
        return skip("mosquitto_pub is missing; install the package mosquitto-clients")
    # Whoever stops the test stops what it started too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped before its end"))
    directory = pathlib.Path(tempfile.mkdtemp(prefix="gatehouse-tryton-"))
    directory.chmod(0o711)  # PostgreSQL's user must reach its folder below
    status = 1
    try:
        started = subprocess.run([HERE / "start", directory / "tryton"], stderr=subprocess.PIPE, text=True)
        print(started.stderr, end="", flush=True)
        if started.returncode == 3:
            status = skip(started.stderr.strip().splitlines()[-1])
        else:
            status = play(directory, pathlib.Path(binaries), started.returncode == 0)
    finally:
        if (directory / "tryton" / "trytond.conf").exists():
            subprocess.run([HERE / "stop", directory / "tryton"], check=False)
        if status or os.environ.get("KEEP"):
            print(f"logs and stores are in {directory}", file=sys.stderr)
        else:
            shutil.rmtree(directory)
    return status


def play(directory, binaries, has_tryton):
    report, scene = Report(), None
    try:
        if not has_tryton:
            raise Trouble("Tryton could not be started")
        server = json.loads((directory / "tryton" / "server.json").read_text())
        scene = Scene(directory, binaries, server, report)
        scene.play()
    except Exception as trouble:  # whatever it is, it is told, and what was not reached counts as failed
        if not isinstance(trouble, Trouble):
            traceback.print_exc(file=sys.stdout)
        print(f"the test stops: {trouble}")
        if scene and (ended := scene.programs.ended()):
            print(ended)
    finally:
        if scene:
            scene.programs.stop()
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
