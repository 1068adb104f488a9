"""Judges many logs with scripts/audit_verify.py in one process.

Standard input is JSON, one object a line. The first is a log: `segments` (names and contents in base64), `keys`,
`witness`, `cosigners` and, if it has one, `base` (content in base64). Each of the others is a change of it: other `segments`,
`keys` or `base` (null for none), an `archive` (as `segments`), or `splices` (segment, first byte, length, replacement in hex) and
how many segments are `kept`. Prints `sound` or the first problem for each.
"""

import base64
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "scripts"))
sys.dont_write_bytecode = True
import audit_verify  # noqa: E402


def contents(segments):
    return [(name, base64.b64decode(content)) for name, content in segments]


def main():
    base = json.loads(sys.stdin.readline())
    segments = contents(base["segments"])
    notes, _ = audit_verify.read_witness(base["witness"], "witness")
    cosigners = [audit_verify.Cosigner(vkey) for vkey in base.get("cosigners", [])]
    keys = {}
    for line in sys.stdin:
        change = json.loads(line)
        changed = contents(change["segments"]) if "segments" in change else list(segments)
        for segment, begin, length, replacement in change.get("splices", []):
            name, content = changed[segment]
            changed[segment] = (name, content[:begin] + bytes.fromhex(replacement) + content[begin + length:])
        changed = changed[:change.get("kept", len(changed))]
        given = tuple(change.get("keys", base["keys"]))
        if given not in keys:
            keys[given] = [audit_verify.own_key(vkey) for vkey in given]
        begins = change.get("base", base.get("base"))
        begins = None if begins is None else base64.b64decode(begins)
        archive = contents(change["archive"]) if "archive" in change else None
        print(next(audit_verify.verify(changed, keys[given], [notes], None, cosigners, begins, archive), "sound"))


if __name__ == "__main__":
    main()
