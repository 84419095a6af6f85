"""A durable intake as one writes it in Python: paho-mqtt and sqlite3, small batches, acknowledged after the commit.

Arguments: the broker's port on this machine, the SQLite file. The state of the rule is in memory.
"""

import json
import queue
import sqlite3
import sys
import threading
import time

import paho.mqtt.client as mqtt

OPEN_MAX_MS = 600_000
BATCH_MAX = 100
BATCH_WAIT_S = 0.02

messages = queue.Queue()


def write(client, path):
    store = sqlite3.connect(path, isolation_level=None)
    store.execute("PRAGMA journal_mode = WAL")
    store.execute("PRAGMA synchronous = FULL")
    store.execute("CREATE TABLE IF NOT EXISTS readings (position INTEGER PRIMARY KEY, id TEXT NOT NULL, body TEXT)")
    store.execute("CREATE TABLE IF NOT EXISTS alerts (door TEXT NOT NULL, since_ms INTEGER NOT NULL)")
    open_since, told = {}, set()
    while True:
        batch = [messages.get()]
        until = time.monotonic() + BATCH_WAIT_S
        while len(batch) < BATCH_MAX:
            try:
                batch.append(messages.get(timeout=max(0.0, until - time.monotonic())))
            except queue.Empty:
                break
        store.execute("BEGIN")
        for message in batch:
            said = json.loads(message.payload)
            store.execute(
                "INSERT INTO readings (id, body) VALUES (?, ?)",
                (said.get("id") or said.get("_id"), message.payload.decode()),
            )
            door = said.get("door")
            if door is None:
                continue
            if not said["open"]:
                open_since.pop(door, None)
                told.discard(door)
                continue
            since = open_since.setdefault(door, said["time"])
            if said["time"] - since > OPEN_MAX_MS and door not in told:
                told.add(door)
                store.execute("INSERT INTO alerts (door, since_ms) VALUES (?, ?)", (door, since))
        store.execute("COMMIT")
        for message in batch:
            client.ack(message.mid, message.qos)


def main():
    port, path = int(sys.argv[1]), sys.argv[2]
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "python", clean_session=False, manual_ack=True)
    client.on_connect = lambda *_: client.subscribe([("depot/+/door/+", 1), ("owntracks/+/+", 1)])
    client.on_message = lambda _client, _data, message: messages.put(message)
    threading.Thread(target=write, args=(client, path), daemon=True).start()
    client.connect("127.0.0.1", port, keepalive=60)
    client.loop_forever()


main()
