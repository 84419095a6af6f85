"""Reads the readings of an agent's store, and writes them back for the controls.

The store keeps them in blocks: groups under one moment, numbers in seven bits a byte, senders by number.
Written from the description of that form; standard library only; shares nothing with the product.
"""

import json
import sqlite3
import struct

# The kinds with a form of their own, by number: their values in order. Every other kind is JSON, number 0.
FORMS = {
    1: ("door", "door", "open"),
    2: ("occupancy", "door", "occupied", "vehicle"),
    3: ("scan", "step", "order", "line", "quantity"),
    4: ("seal", "vehicle", "intact", "number"),
    5: ("temperature", "celsius", "vehicle"),
    6: ("documents", "order", "complete"),
    7: ("position", "vehicle", "lat", "lon", "accuracy_m", "speed_kmh"),
}


class Bytes:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        taken = self.data[self.at : self.at + n]
        assert len(taken) == n, "a block ends too soon"
        self.at += n
        return taken

    def uint(self):
        number = shift = 0
        while True:
            byte = self.take(1)[0]
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number

    def int(self):
        number = self.uint()
        return (number >> 1) ^ -(number & 1)

    def text(self):
        return self.take(self.uint()).decode()

    def typed(self):
        kind = self.take(1)[0]
        if kind < 3:
            return (None, False, True)[kind]
        if kind == 5:
            return struct.unpack("<d", self.take(8))[0]
        read = {3: self.int, 4: lambda: self.int() / 1e7, 6: self.text, 7: lambda: float(self.int())}
        return read[kind]()

    def value(self):
        form = FORMS.get(self.take(1)[0])
        if form is None:
            return json.loads(self.typed())
        value = {"kind": form[0]} | {name: self.typed() for name in form[1:]}
        if form[0] == "position":
            value["point"] = {"lat": value.pop("lat"), "lon": value.pop("lon")}
        return value


def uint(number):
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


def int_(number):
    return uint(number * 2 if number >= 0 else -number * 2 - 1)


def text(value):
    return uint(len(value.encode())) + value.encode()


def readings(connection):
    """Every reading as a dict; its payload_hash is the first 16 hexadecimal digits."""
    names = dict(connection.execute("SELECT number, source FROM sources"))
    found = []
    for first, count, body in connection.execute("SELECT first, count, body FROM blocks ORDER BY first"):
        data, wall, before = Bytes(body), 0, len(found)
        while data.at < len(body):
            group = data.uint()
            wall += data.int()
            data.int()  # the boot clock, the uncertainty
            data.uint()
            if data.take(1)[0] & 2:
                data.text()  # the boot's id
            for _ in range(group):
                source, length = names[data.uint()], data.uint()
                identifier = data.take(length).decode() if length else data.take(32).hex()
                at, hash_ = wall + data.int(), data.take(8).hex()
                value = data.value()
                found.append(
                    {
                        "position": first + len(found) - before,
                        "source": source,
                        "reading_id": identifier,
                        "at_ms": at,
                        "payload_hash": hash_,
                        "kind": value["kind"],
                        "value": value,
                    }
                )
        assert len(found) - before == count, f"block {first} says {count}"
    return found


def write(connection, found):
    """Puts these readings in the place of all others, in one block with every value as JSON."""
    numbers = {source: number for number, source in connection.execute("SELECT number, source FROM sources")}
    body = uint(len(found)) + int_(0) + int_(0) + uint(0) + b"\0" if found else b""
    for reading in found:
        if reading["source"] not in numbers:
            numbers[reading["source"]] = max(numbers.values(), default=0) + 1
            row = (numbers[reading["source"]], reading["source"])
            connection.execute("INSERT INTO sources VALUES (?, ?, 0, 0, x'00')", row)
        body += uint(numbers[reading["source"]]) + text(reading["reading_id"]) + int_(reading["at_ms"])
        body += bytes.fromhex(reading["payload_hash"])[:8] + b"\0\6" + text(json.dumps(reading["value"]))
    connection.execute("DELETE FROM blocks")
    connection.execute("INSERT INTO blocks VALUES (1, ?, ?, x'00')", (len(found), body))


def readings_of(path):
    """The readings of a store, read through a connection that cannot write."""
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=10)
    try:
        return readings(connection)
    finally:
        connection.close()
