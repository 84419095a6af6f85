#!/usr/bin/env python3
"""Cuts one day of a few buses out of the full extract of Austin's bus feed.

    trim.py FULL_EXTRACT [OUTPUT]

FULL_EXTRACT is a folder with the full extract (README.md here says where it comes from); OUTPUT is
where the files go, by default the folder of this script. Needs nothing but Python 3.9 or later, and
writes the same bytes each time (with another zlib the packed bytes may differ, never the rows).
"""

import collections
import csv
import gzip
import io
import json
import math
import pathlib
import sys
from datetime import datetime, timezone

DAY = "2015-03-07"
PERIOD = "20140824_20150606"  # the timetable that held on that day
BEGIN, END = "2015-03-07T11:00:00Z", "2015-03-07T22:00:00Z"  # before, only a few night buses
# Two places where many trips begin, 31 km apart; some buses run from one to the other.
DEPOTS = {
    "D1": {"name": "Tech Ridge", "lat": 30.4184, "lon": -97.6686, "radius_m": 300},
    "D2": {"name": "Southpark Meadows", "lat": 30.163367, "lon": -97.791351, "radius_m": 300},
}
VEHICLES_MAX = 32
FIXES_MIN = 200  # fewer is half a day or a silent unit
DEPARTURES_MIN = 2
FIX_GAP_MAX_S = 240  # around a departure; a longer gap hides when it happened
TRIP_LENGTH_MIN_M = 2000  # from depot to destination as the crow flies
TRIP_TIME_MAX_S = 3 * 3600
AT_DESTINATION_M = 250
PLAUSIBLE_SPEED_MAX_KMH = 150
KMH_PER_MPH = 1.609344

Fix = collections.namedtuple("Fix", "unix lat lon kmh trip_id")


def read(folder, name):
    with gzip.open(folder / name, "rt", newline="") as lines:
        yield from csv.DictReader(lines)


def unix(text):
    return int(datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc).timestamp())


def metres(a_lat, a_lon, b_lat, b_lon):
    """Flat-earth distance; within a city its error is far below that of a fix."""
    east = (a_lon - b_lon) * math.cos(math.radians((a_lat + b_lat) / 2))
    return 111195 * math.hypot(a_lat - b_lat, east)


def crossing(before, after, lat, lon, radius_m):
    """When a straight run from one fix to the next crosses the circle."""
    begins_inside = metres(before.lat, before.lon, lat, lon) <= radius_m
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        at_lat = before.lat + middle * (after.lat - before.lat)
        at_lon = before.lon + middle * (after.lon - before.lon)
        if (metres(at_lat, at_lon, lat, lon) <= radius_m) == begins_inside:
            low = middle
        else:
            high = middle
    return round(before.unix + low * (after.unix - before.unix))


def read_fixes(folder, counts):
    by_vehicle = collections.defaultdict(dict)
    for row in read(folder, "positions.csv.gz"):
        if row["file_day"] != DAY or not BEGIN <= row["time_utc"] < END:
            continue
        # Two fixes of the same second: the first that came stays.
        kmh = round(float(row["speed"] or 0) * KMH_PER_MPH, 1)
        fix = Fix(unix(row["time_utc"]), float(row["lat"]), float(row["lon"]), kmh, row["trip_id"])
        counts["same second"] += fix.unix in by_vehicle[row["vehicle"]]
        by_vehicle[row["vehicle"]].setdefault(fix.unix, fix)
    cleaned = {}
    for vehicle, fixes in by_vehicle.items():
        kept = []
        for fix in (fixes[key] for key in sorted(fixes)):
            if kept:
                run = metres(kept[-1].lat, kept[-1].lon, fix.lat, fix.lon)
                if run / (fix.unix - kept[-1].unix) * 3.6 > PLAUSIBLE_SPEED_MAX_KMH:
                    counts["too fast"] += 1
                    continue
            kept.append(fix)
        cleaned[vehicle] = kept
    return cleaned


def departures_of(fixes, depot, trips, stops, arrivals):
    """Exits with a fix inside before and two outside after, on a trip that begins at the depot."""
    lat, lon, radius_m = depot["lat"], depot["lon"], depot["radius_m"]
    inside = [metres(fix.lat, fix.lon, lat, lon) <= radius_m for fix in fixes]
    found = {}
    for out in range(1, len(fixes) - 1):
        if not inside[out - 1] or inside[out] or inside[out + 1]:
            continue
        if fixes[out].unix - fixes[out - 1].unix > FIX_GAP_MAX_S or fixes[out + 1].unix - fixes[out].unix > FIX_GAP_MAX_S:
            continue
        trip_id = fixes[out].trip_id
        if trip_id not in trips:
            continue
        first, last = stops[trips[trip_id][0]], stops[trips[trip_id][1]]
        if metres(first[1], first[2], lat, lon) > radius_m or metres(last[1], last[2], lat, lon) < TRIP_LENGTH_MIN_M:
            continue
        entry = out - 1
        while entry > 0 and inside[entry - 1]:
            entry -= 1
        # Inside when its record begins: nobody saw it come.
        arrived = "" if entry == 0 else crossing(fixes[entry - 1], fixes[entry], lat, lon, radius_m)
        departed = crossing(fixes[out - 1], fixes[out], lat, lon, radius_m)
        there = arrivals.get(trip_id, "")
        if there == "":
            near = (f.unix for f in fixes[out:] if metres(f.lat, f.lon, last[1], last[2]) <= AT_DESTINATION_M)
            there = next(near, "")
        if there != "" and not departed < there <= departed + TRIP_TIME_MAX_S:
            there = ""
        # A bus that turns back for a moment leaves twice on one trip: the last exit is the departure,
        # the first arrival stays.
        if trip_id in found:
            arrived = found[trip_id][0]
        found[trip_id] = (arrived, departed, last, there)
    return found


def write_gzip(path, header, rows):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    with open(path, "wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
        packed.write(text.getvalue().encode())


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    source = pathlib.Path(sys.argv[1])
    output = pathlib.Path(sys.argv[2]) if len(sys.argv) == 3 else pathlib.Path(__file__).parent
    counts = collections.Counter()

    stops = {
        row["stop_id"]: (row["stop_name"], float(row["stop_lat"]), float(row["stop_lon"]))
        for row in read(source, "stops.csv.gz")
        if row["period"] == PERIOD
    }
    plan = collections.defaultdict(list)
    for row in read(source, "plan.csv.gz"):
        if row["period"] == PERIOD and row["stop_id"] in stops:
            plan[row["trip_id"]].append((int(row["seq"]), row["stop_id"]))
    trips = {trip_id: (min(seen)[1], max(seen)[1]) for trip_id, seen in plan.items()}
    arrivals = collections.defaultdict(list)
    for row in read(source, "derived_arrivals.csv.gz"):
        if row["file_day"] == DAY and unix(BEGIN) <= int(row["actual_unix"]) < unix(END):
            arrivals[row["vehicle"]].append(row)
    fixes = read_fixes(source, counts)

    departures = {}
    for vehicle in sorted(fixes):
        at_the_end = {
            row["trip_id"]: int(row["actual_unix"])
            for row in arrivals[vehicle]
            if int(row["seq"]) == int(row["n_stops"]) - 1
        }
        departures[vehicle] = [
            (depot_id, vehicle, trip_id, arrived, departed, f"{last[1]:.6f}", f"{last[2]:.6f}", there)
            for depot_id, depot in DEPOTS.items()
            for trip_id, (arrived, departed, last, there) in departures_of(
                fixes[vehicle], depot, trips, stops, at_the_end
            ).items()
        ]
    fit = [v for v in fixes if len(fixes[v]) >= FIXES_MIN and len(departures[v]) >= DEPARTURES_MIN]
    fit.sort(key=lambda v: (-len(departures[v]), -len(fixes[v]), v))
    chosen = sorted(fit[:VEHICLES_MAX])

    write_gzip(
        output / "positions.csv.gz",
        ["vehicle", "time_utc", "lat", "lon", "speed_kmh", "trip_id"],
        (
            (
                vehicle,
                datetime.fromtimestamp(fix.unix, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
                f"{fix.lat:.5f}",
                f"{fix.lon:.5f}",
                fix.kmh,
                fix.trip_id,
            )
            # In the order of the day, so that it can be replayed as it stands.
            for vehicle, fix in sorted(((v, f) for v in chosen for f in fixes[v]), key=lambda pair: (pair[1].unix, pair[0]))
        ),
    )
    fields = ["vehicle", "trip_id", "seq", "n_stops", "stop_id", "planned_unix", "actual_unix"]
    write_gzip(
        output / "arrivals.csv.gz",
        fields + ["lat", "lon", "stop_name"],
        (
            [row[field] for field in fields]
            + [f"{stops[row['stop_id']][1]:.6f}", f"{stops[row['stop_id']][2]:.6f}", stops[row["stop_id"]][0]]
            for vehicle in chosen
            for row in sorted(arrivals[vehicle], key=lambda row: (int(row["actual_unix"]), row["trip_id"], int(row["seq"])))
            if row["stop_id"] in stops
        ),
    )
    with open(output / "departures.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            ["depot", "vehicle", "trip_id", "arrived_unix", "departed_unix", "dest_lat", "dest_lon", "dest_arrived_unix"]
        )
        writer.writerows(sorted((row for v in chosen for row in departures[v]), key=lambda row: (row[4], row[1])))
    (output / "depots.json").write_text(json.dumps(DEPOTS, indent=2) + "\n")
    print(f"{len(chosen)} vehicles, {sum(len(fixes[v]) for v in chosen)} fixes; left out of the whole day: {dict(counts)}")


if __name__ == "__main__":
    main()
