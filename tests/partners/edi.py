"""Reads every file that the hub's writers wrote, with programs of others: bots and pydifact.

    edi.py FOLDER

Prints a line for each file and reader, then "N passed, N failed, N skipped". The control is each file with one thing broken:
a reader that takes it would prove nothing.
"""

import codecs
import contextlib
import importlib
import io
import logging
import pathlib
import sys
import tempfile
import warnings

import edi_parser
from edi_parser.lib import utils
from pydifact.segmentcollection import Interchange

VERSIONS = {"IFTSTA": "IFTSTAD01BUN", "DESADV": "DESADVD96AUN"}
passed = failed = skipped = 0


def lend_grammars():
    """Its EDIFACT grammars lie in folders by directory, where it does not look: they are lent to it under the names it asks."""
    base = "edi_parser.grammars.edifact"
    # Of EDIFACT it asks for a file, and has no reader of files.
    utils.readdata_bin = lambda filename=None, content=None: content or pathlib.Path(filename).read_bytes()
    # The full bots knows this character set by a codec of its own.
    codecs.register(lambda name: codecs.lookup("latin-1") if name == "unoc" else None)
    syntax = importlib.import_module(f"{base}.edifact")
    for grammar in VERSIONS.values():
        folder = grammar[-6:-2]
        sys.modules[f"{base}.{folder}.edifact"] = syntax
        sys.modules[f"{base}.{grammar}"] = importlib.import_module(f"{base}.{folder}.{grammar}")


def bots(path):
    """What bots finds wrong with a file, by its own grammars."""
    kind = "x12" if path.suffix == ".x12" else "edifact"
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        result = edi_parser.validate_edi(content=path.read_bytes(), filename=str(path), editype=kind, messagetype=kind)
    return [] if result.get("valid") else [str(e.get("description", e)) for e in result.get("errors", [])] or ["refused"]


def pydifact(path):
    """What pydifact finds wrong: counts, references and syntax."""
    text = path.read_bytes().decode("latin-1").replace("\n", "")
    try:
        interchange = Interchange.from_str(text)
        messages = list(interchange.get_messages())
        wrong = [] if messages else ["no messages"]
        for message in messages:
            message.validate()
        trailer = text.rsplit("UNZ+", 1)[1]
        if int(trailer.split("+")[0]) != len(messages):
            wrong.append("UNZ counts other messages")
        return wrong
    except Exception as error:  # it has no error of its own for all of this
        return [f"{type(error).__name__}: {error}"]


def tell(name, found, expected_good):
    global passed, failed
    good = not found
    if good == expected_good:
        passed += 1
    else:
        failed += 1
    words = "reads it" if good else "; ".join(found)[:300]
    print(f"{'ok  ' if good == expected_good else 'FAIL'} {name}: {words}")


def broken(path, folder):
    """The same file with the count of its first trailer raised, and a segment that no grammar has."""
    data = path.read_bytes()
    if path.suffix == ".x12":
        data = data.replace(b"SE*", b"ZZZ*1~\nSE*9", 1)
    else:
        data = data.replace(b"UNT+", b"ZZZ+1'\nUNT+9", 1)
    target = pathlib.Path(folder) / path.name
    target.write_bytes(data)
    return target


def main():
    global skipped
    files = sorted(pathlib.Path(sys.argv[1]).iterdir())
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    lend_grammars()
    with tempfile.TemporaryDirectory() as folder:
        for path in files:
            kind = path.name.split(".")[0]
            if path.suffix == ".edifact":
                tell(f"pydifact {path.name}", pydifact(path), True)
            if kind == "CONTRL":
                # bots has no grammar of it; pydifact read it.
                skipped += 1
                print(f"SKIPPED: bots has no grammar of {kind}")
                continue
            tell(f"bots {path.name}", bots(path), True)
            tell(f"bots {path.name}, broken", bots(broken(path, folder)), False)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not files else 0


sys.exit(main())
