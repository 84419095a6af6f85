"""Holds EPCIS documents against GS1's JSON schema, with formats checked: without that it takes an invented business step.

    epcis.py FOLDER SCHEMA

The control is each document with such a step. Prints "N passed, N failed".
"""

import json
import pathlib
import re
import sys

from jsonschema import FormatChecker, validators

schema = json.loads(pathlib.Path(sys.argv[2]).read_text())
formats = FormatChecker()
passed = failed = 0


@formats.checks("uri")
def is_uri(text):
    return not isinstance(text, str) or re.match(r"^[A-Za-z][A-Za-z0-9+.-]*:\S+$", text) is not None


def wrong(document):
    return list(validators.validator_for(schema)(schema, format_checker=formats).iter_errors(document))


def tell(name, found, expected_good):
    global passed, failed
    good = not found
    passed, failed = passed + (good == expected_good), failed + (good != expected_good)
    words = "agrees" if good else "; ".join(f"{list(e.absolute_path)} {e.message[:120]}" for e in found[:3])
    print(f"{'ok  ' if good == expected_good else 'FAIL'} {name}: {words}")


for path in sorted(pathlib.Path(sys.argv[1]).glob("epcis*.json")):
    document = json.loads(path.read_text())
    tell(path.name, wrong(document), True)
    document["epcisBody"]["eventList"][0]["bizStep"] = "invented step"
    tell(f"{path.name} with an invented step", wrong(document), False)
print(f"{passed} passed, {failed} failed")
sys.exit(1 if failed or not passed else 0)
