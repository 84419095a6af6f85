"""Reads just enough of Automerge's binary format to say which changes a document has.

Written for the checker alone: heads are recomputed here from the changes that a store holds, so that
a store which only claims to have the same heads as another is found out. Format:
https://automerge.org/automerge-binary-format-spec/ (a chunk: magic, checksum, type, length, content).
"""

import hashlib

MAGIC = bytes.fromhex("856f4a83")
CHANGE = 1


def _number(data, at):
    """An unsigned LEB128 number and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def change(data):
    """Hash and dependencies of one uncompressed change, both in hex. Raises ValueError if it is none."""
    try:
        length, at = _number(data, 9)
        digest = hashlib.sha256(data[8:]).digest()
        if data[:4] != MAGIC or data[8] != CHANGE or at + length != len(data) or data[4:8] != digest[:4]:
            raise ValueError("not a whole change")
        count, at = _number(data, at)
        if count * 32 > len(data) - at:
            raise ValueError("names more dependencies than it holds")
    except IndexError as error:
        raise ValueError("ends too early") from error
    return digest.hex(), [data[at + 32 * i : at + 32 * (i + 1)].hex() for i in range(count)]


def heads(changes):
    """The changes that no other depends on, from `{hash: dependencies}`."""
    needed = {hash_ for dependencies in changes.values() for hash_ in dependencies}
    return sorted(set(changes) - needed)
