"""Reads the hub's exports with pm4py, and holds its cycle times against the hub's.

    exports.py FOLDER

FOLDER holds log.jsonocel, log.sqlite, cases.xes and expected.json. The control is an expectation that is one second off.
pm4py is a tool of this test and part of nothing that is shipped. Prints "N passed, N failed".
"""

import json
import pathlib
import shutil
import sys
import tempfile
import warnings

warnings.simplefilter("ignore")
import pm4py

folder = pathlib.Path(sys.argv[1])
expected = json.loads((folder / "expected.json").read_text())
passed = failed = 0


def tell(name, good):
    global passed, failed
    passed, failed = passed + bool(good), failed + (not good)
    print(f"{'ok  ' if good else 'FAIL'} {name}")


def cycle_ms(log):
    """From the first opening of each case to its last resolution."""
    times = {}
    for case, events in log.groupby("case:concept:name"):
        opened = events[events["concept:name"] == "case opened"]["time:timestamp"]
        resolved = events[events["concept:name"] == "case resolved"]["time:timestamp"]
        if len(opened) and len(resolved):
            times[case] = round((resolved.max() - opened.min()).total_seconds() * 1000)
    return times


for name, read in (("log.jsonocel", pm4py.read_ocel2_json), ("log.sqlite", pm4py.read_ocel2_sqlite)):
    with tempfile.TemporaryDirectory() as place:  # pm4py may write beside what it reads
        path = shutil.copy(folder / name, place)
        ocel = read(str(path))
    tell(f"{name}: events", len(ocel.events) == expected["events"])
    tell(f"{name}: objects", len(ocel.objects) == expected["objects"])
    flat = pm4py.ocel_flattening(ocel, "Case")
    found = cycle_ms(flat)
    tell(f"{name}: cycle times are ours", found == expected["cycle_ms"])
    wrong = {case: ms + 1000 for case, ms in expected["cycle_ms"].items()}
    tell(f"{name}: cycle times that are a second off are not", found != wrong and bool(wrong))
traces = pm4py.read_xes(str(folder / "cases.xes"))
tell("cases.xes: cycle times are ours", cycle_ms(pm4py.convert_to_dataframe(traces)) == expected["cycle_ms"])
print(f"{passed} passed, {failed} failed")
sys.exit(1 if failed else 0)
