#!/usr/bin/env python3
"""Checks a log of jwsd: a second implementation of docs/audit-format.md, written from that page.

usage: audit_verify.py DIRECTORY [--key VKEY|@FILE]... [--checkpoint FILE]... [--witness VKEY|@FILE]... [--archive DIRECTORY]

Prints what is wrong, or that nothing is. Exit codes: 0 sound, 1 problems, 2 it could not be read, or wrong usage.
Needs the `cryptography` package.
"""

import argparse
import base64
import hashlib
import json
import os
import re
import sys
import zlib
from collections import deque

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

try:
    from cryptography.hazmat.primitives.asymmetric import mldsa
except ImportError:
    mldsa = None

LONGEST_LINE = 49152
LONGEST_NOTE = 65536
FARTHEST = 1 << 20
RECENT = 100
BEGINNING = re.compile(rb'\{"seq":(0|[1-9][0-9]*),"time":"(.{27})","event":"([^"\\]*)"', re.DOTALL)
TIME = re.compile(rb"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})\.[0-9]{6}Z")
END = re.compile(rb',"crc":"([0-9a-f]{8})"\}')
SEGMENT = re.compile(r"[0-9]{20}\.jsonl")
SPACE = re.compile(r"[ \t\r\n]*")
VKEY = re.compile(r"([^+]*)\+([0-9a-f]{8})\+(.*)", re.DOTALL)


class Bad(Exception):
    """What is wrong, one sentence."""


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def leaf(line):
    return sha256(b"\0", line)


def unbase64(text):
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        raise Bad("not base64") from None
    if base64.b64encode(raw).decode() != text:
        raise Bad("not canonical base64")
    return raw


# Records


class Pairs(list):
    """The members of an object, in order."""


def no_constant(text):
    raise ValueError(text)


WHOLE = lambda text: int(text) if text != "-0" else -1
DECODER = json.JSONDecoder(object_pairs_hook=Pairs, parse_int=WHOLE, parse_constant=no_constant)


def is_number(value):
    return type(value) is int and 0 <= value < 1 << 64


def is_time(text):
    match = TIME.fullmatch(text)
    if not match:
        return False
    year, month, day, hour, minute, second = map(int, match.groups())
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    days = [31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    return 1 <= month <= 12 and 1 <= day <= days[month - 1] and hour < 24 and minute < 60 and second < 60


def written(line, name):
    """How the value of a member is written in an object that can be read."""
    text, at = line.decode(), 1
    while True:
        key, at = json.decoder.scanstring(text, SPACE.match(text, at).end() + 1)
        begin = SPACE.match(text, SPACE.match(text, at).end() + 1).end()
        _, end = DECODER.raw_decode(text, begin)
        if key == name:
            return text[begin:end]
        at = SPACE.match(text, end).end() + 1


class Record:
    """A line that is a record."""

    def __init__(self, line):
        if len(line) >= LONGEST_LINE:
            raise Bad("the line is too long")
        end = END.fullmatch(line, len(line) - 18) if len(line) >= 18 else None
        beginning = BEGINNING.match(line)
        if not end or not beginning:
            raise Bad("the line does not begin with seq, time and event, or does not end with crc")
        if int(end[1], 16) != zlib.crc32(line[:-18]):
            raise Bad("the checksum does not match")
        try:
            members = DECODER.decode(line.decode())
        except (ValueError, RecursionError):
            raise Bad("the line is not JSON") from None
        self.line, self.members = line, dict(members)
        names = [name for name, _ in members]
        for name in ("seq", "time", "event", "outcome", "crc"):
            if names.count(name) != 1:
                raise Bad(f"{name} is not there once")
        for name in ("segment", "after", "unknown"):
            if names.count(name) > 1:
                raise Bad(f"{name} is there twice")
        if line[-1:] != b"}" or type(self.members["outcome"]) is not str or b"\\" in line and "\\" in written(line, "outcome"):
            raise Bad("outcome is not a text without escapes")
        self.seq, self.event = self.members["seq"], self.members["event"]
        self.segment, self.after, self.unknown = map(self.members.get, ("segment", "after", "unknown"))
        if not is_number(self.seq) or not is_time(beginning[2]):
            raise Bad("seq or time is not of the form that it should have")
        if not (self.segment is None or type(self.segment) is str):
            raise Bad("segment is not a text")
        if not all(value is None or is_number(value) for value in (self.after, self.unknown)):
            raise Bad("after or unknown is not a number")

    def text(self, name):
        value = self.members.get(name)
        if type(value) is not str or sum(key == name for key, _ in DECODER.decode(self.line.decode())) != 1:
            raise Bad(f"{self.event} has no {name}")
        return value

    def gap(self):
        """The numbers around those of unknown durability, if it declares such."""
        if self.event != "log.resumed" or self.after is None or self.unknown is None:
            return None
        return (self.after, self.seq) if self.after + self.unknown + 1 == self.seq else None


# Notes


def is_name(name):
    return 0 < len(name.encode()) <= 128 and not any(c.isspace() or c == "+" or is_control(c) for c in name)


def is_control(c):
    return ord(c) < 32 or 127 <= ord(c) < 160


class Key:
    """A verifier key."""

    def __init__(self, vkey):
        match = VKEY.fullmatch(vkey)
        if not match or not is_name(match[1]):
            raise Bad("not a key of the form name+id+key")
        self.name, raw = match[1], unbase64(match[3])
        kind, public = raw[:1], raw[1:]
        b64url = lambda data: base64.urlsafe_b64encode(data).decode().rstrip("=")
        try:
            if kind == b"\1":
                self.public = ed25519.Ed25519PublicKey.from_public_bytes(public)
                self.id = sha256(self.name.encode(), b"\n\1", public)[:4]
                jwk = {"crv": "Ed25519", "kty": "OKP", "x": b64url(public)}
            elif kind == b"\2":
                self.public = serialization.load_der_public_key(public)
                numbers = self.public.public_numbers()
                if not isinstance(self.public.curve, ec.SECP256R1):
                    raise ValueError
                self.id = sha256(public)[:4]
                x, y = (b64url(number.to_bytes(32, "big")) for number in (numbers.x, numbers.y))
                jwk = {"crv": "P-256", "kty": "EC", "x": x, "y": y}
            else:
                raise ValueError
        except (ValueError, AttributeError, UnsupportedAlgorithm):
            raise Bad("not a key of Ed25519 or ECDSA on P-256") from None
        if self.id.hex() != match[2]:
            raise Bad("the key's id is not that of its name and key")
        self.kid = b64url(sha256(json.dumps(jwk, separators=(",", ":"), sort_keys=True).encode()))

    def verify(self, text, signature):
        try:
            if isinstance(self.public, ed25519.Ed25519PublicKey):
                self.public.verify(signature, text)
            else:
                self.public.verify(signature, text, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            raise Bad("the signature does not verify") from None


class Cosigner:
    """The key of a witness, or the one with which a log cosigns its own seals."""

    def __init__(self, vkey):
        match = VKEY.fullmatch(vkey)
        if not match or not is_name(match[1]):
            raise Bad("not a key of the form name+id+key")
        self.name, raw = match[1], unbase64(match[3])
        b64url = lambda data: base64.urlsafe_b64encode(data).decode().rstrip("=")
        self.is_ml_dsa = raw[:1] == b"\6" and len(raw) == 1313
        try:
            if self.is_ml_dsa:
                self.public = mldsa and mldsa.MLDSA44PublicKey.from_public_bytes(raw[1:])
                jwk = {"alg": "ML-DSA-44", "kty": "AKP", "pub": b64url(raw[1:])}
            elif raw[:1] == b"\4":
                self.public = ed25519.Ed25519PublicKey.from_public_bytes(raw[1:])
                jwk = {"crv": "Ed25519", "kty": "OKP", "x": b64url(raw[1:])}
            else:
                raise ValueError
        except (ValueError, UnsupportedAlgorithm):
            raise Bad("not a key that cosigns (type 0x04, Ed25519, or 0x06, ML-DSA-44)") from None
        self.id = sha256(self.name.encode(), b"\n", raw)[:4]
        if self.id.hex() != match[2]:
            raise Bad("the key's id is not that of its name and key")
        self.kid = b64url(sha256(json.dumps(jwk, separators=(",", ":"), sort_keys=True).encode()))

    def message(self, note, time):
        if not self.is_ml_dsa:
            return f"cosignature/v1\ntime {time}\n{note.text}".encode()
        text = lambda value: bytes([len(value.encode())]) + value.encode()
        number = lambda value: value.to_bytes(8, "big")
        return b"".join((b"subtree/v1\n\0", text(self.name), number(time), text(note.origin), number(0), number(note.size), note.root))

    def find(self, note):
        """When it cosigned the note; `None` if it did not."""
        times = []
        for name, id, signature in note.signatures:
            if (name, id) != (self.name, self.id):
                continue
            time = int.from_bytes(signature[:8], "big")
            try:
                if len(signature) != (2428 if self.is_ml_dsa else 72) or time >= 1 << 63 or len(note.origin.encode()) > 255:
                    raise InvalidSignature
                self.public.verify(signature[8:], self.message(note, time))
            except InvalidSignature:
                raise Bad(f"the cosignature of {name} does not verify") from None
            times.append(time)
        return max(times, default=None)


def own_key(vkey):
    """A key that seals, or one that cosigns seals by ML-DSA-44."""
    try:
        key = Cosigner(vkey)
    except Bad:
        return Key(vkey)
    return key if key.is_ml_dsa else Key(vkey)


class Note:
    """A signed note that holds a checkpoint; its signatures are not verified yet."""

    def __init__(self, text):
        if len(text.encode()) > LONGEST_NOTE or any(ord(c) < 32 and c != "\n" or ord(c) == 127 for c in text):
            raise Bad("the note is too long or has control characters")
        signed, blank, lines = text.rpartition("\n\n")
        if not blank or not lines.endswith("\n"):
            raise Bad("not a signed note")
        self.text, self.signatures = signed + "\n", []
        for line in lines[:-1].split("\n"):
            parts = line.split(" ", 2)
            if len(parts) != 3 or parts[0] != "\u2014" or not is_name(parts[1]):
                raise Bad("a signature line is damaged")
            raw = unbase64(parts[2])
            if len(raw) <= 4:
                raise Bad("a signature is too short")
            self.signatures.append((parts[1], raw[:4], raw[4:]))
        checkpoint = self.text.split("\n")
        if len(self.signatures) > 32 or len(checkpoint) != 4:
            raise Bad("too many signatures, or not three lines that are signed")
        self.origin, size, root = checkpoint[:3]
        self.root = unbase64(root)
        if not re.fullmatch("0|[1-9][0-9]*", size, re.ASCII) or int(size) >= 1 << 64 or len(self.root) != 32:
            raise Bad("not a checkpoint")
        self.size = int(size)

    def head(self):
        return self.origin, self.size, self.root

    def open(self, key):
        if self.origin != key.name:
            raise Bad("the note is of another log")
        ours = [signature for name, id, signature in self.signatures if (name, id) == (key.name, key.id)]
        for signature in ours:
            key.verify(self.text.encode(), signature)
        if not ours:
            raise Bad("the note is not signed by the key")

    def is_open(self, key):
        try:
            self.open(key)
        except Bad:
            return False
        return True


def read_witness(text, name):
    """The notes that a witness kept, each with its place, and how many are torn."""
    parts, notes, torn = text.split("\n\n"), [], 0
    at = 0
    while at < len(parts):
        part = parts[at].lstrip("\n")
        at += 1
        if not part:
            continue
        if at < len(parts) and parts[at].startswith("\u2014"):
            lines = parts[at]
            at += 1
            if at < len(parts) and not lines.endswith("\n"):
                lines += "\n"
            try:
                notes.append((f"checkpoint {len(notes) + 1} of {name}", Note(f"{part}\n\n{lines}")))
                continue
            except (Bad, ValueError):
                pass
        torn += 1
    return notes, torn


# The tree


class Tree:
    def __init__(self, size=0, peaks=()):
        self.size, self.peaks = size, list(peaks)

    def push(self, hash):
        bits = self.size
        while bits & 1:
            hash, bits = sha256(b"\1", self.peaks.pop(), hash), bits >> 1
        self.peaks.append(hash)
        self.size += 1

    def root(self):
        if not self.peaks:
            return sha256()
        root = self.peaks[-1]
        for peak in self.peaks[-2::-1]:
            root = sha256(b"\1", peak, root)
        return root


def canonical_seal(record):
    """The seal's kid, after, peaks and note; only if it is written as it should be."""
    members = record.members
    kid, after, peaks, note = map(members.get, ("kid", "after", "peaks", "note"))
    if not (type(kid) is str and type(note) is str and after is not None and type(peaks) is list):
        raise Bad("the seal lacks kid, after, peaks or note")
    if not all(type(peak) is str for peak in peaks):
        raise Bad("the seal's peaks are not texts")
    text = lambda value: json.dumps(value, ensure_ascii=False)
    body = '{"seq":%d,"time":%s,"event":"log.sealed","outcome":"success","kid":%s,"after":%d,"peaks":[%s],"note":%s' % (
        record.seq, text(members["time"]), text(kid), after, ",".join(map(text, peaks)), text(note))
    if record.line[:-18] != body.encode():
        raise Bad("the seal is not written as a seal is")
    return kid, after, peaks, note


class Base:
    """Where a log begins: after which record, which tree is before that, and which key sealed there."""

    def __init__(self, members):
        after, size, peaks, vkey = map(members.get, ("after", "size", "peaks", "vkey"))
        numbers = is_number(after) and is_number(size) and 0 < size <= after
        if not (numbers and type(vkey) is str and type(peaks) is list and all(type(peak) is str for peak in peaks)):
            raise Bad("after, size, peaks or vkey are missing or do not fit")
        Key(vkey)
        raw = [unbase64(peak) for peak in peaks]
        if len(raw) != size.bit_count() or {len(peak) for peak in raw} != {32}:
            raise Bad("the peaks are not those of a tree of that size")
        self.after, self.size, self.peaks = after, size, raw
        text = lambda value: json.dumps(value, ensure_ascii=False)
        self.text = '{"after":%d,"size":%d,"peaks":[%s],"vkey":%s}\n' % (after, size, ",".join(map(text, peaks)), text(vkey))

    @staticmethod
    def read(content):
        """From the file's bytes."""
        try:
            members = DECODER.decode(content.decode())
            base = Base(dict(members)) if type(members) is Pairs else None
        except (Bad, ValueError, RecursionError):
            base = None
        if base is None or base.text.encode() != content:
            raise Bad("base is not written as the log writes one")
        return base

    @staticmethod
    def stated(record):
        """From a log.archived."""
        names = [name for name, _ in DECODER.decode(record.line.decode())]
        if any(names.count(name) != 1 for name in ("after", "size", "peaks", "vkey")):
            raise Bad("log.archived lacks after, size, peaks or vkey")
        return Base(record.members)


class Seals:
    """The seals of a log against the tree of its leaves, from the first one on or from a base."""

    def __init__(self, keys, cosigners=(), base=None, whole=True):
        """Of `keys`, those that cosign are the log's own second ones; `cosigners` are witnesses."""
        self.base, self.stated, self.unread = base, False, 0
        self.given, self.key, self.past = [key for key in keys if isinstance(key, Key)], None, []
        # Second keys that are known, those that the log introduces, and how many seals they signed, the last of which size.
        self.seconds, self.newcomers, self.cosigns = [key for key in keys if isinstance(key, Cosigner)], [], (0, 0)
        self.cosigners, self.used, self.vouched, self.recent = cosigners, set(), {}, deque(maxlen=RECENT)
        self.tree, self.settled, self.pending = Tree(), 0, deque()
        if base and not whole:
            self.tree, self.settled, self.unread = Tree(base.size, base.peaks), base.after, base.size
        self.origin, self.size, self.good = None, 0, {}
        self.introduced, self.accepted, self.earlier = [], [], 0

    def place(self):
        return self.tree.size + len(self.pending)

    def leaf(self, record):
        """Takes the next leaf; may raise, after which one can go on."""
        place = self.place()
        try:
            if record.event == "log.sealed":
                self.seal(record, place)
            elif record.event == "log.key":
                key = own_key(record.text("vkey"))
                if key.kid != record.text("kid"):
                    raise Bad("log.key: kid and vkey are of different keys")
                if isinstance(key, Key):
                    self.introduced.append((place, key))
                # The first introduction of one that cosigns counts.
                elif key.kid not in [known.kid for known in self.seconds + [key for _, key in self.newcomers]]:
                    self.newcomers.append((place, key))
            elif record.event == "log.accepted":
                self.accepted.append((place, record, self.acceptance(record)))
            elif record.event == "log.cosigned":
                self.cosigned(record)
            elif record.event == "log.archived":
                if Base.stated(record).text == (self.base and self.base.text) and self.stated is False:
                    self.stated = place
        except ValueError:
            # Half of a surrogate pair, or a number with thousands of digits.
            raise Bad(f"{record.event} holds a text or number that is none") from None
        finally:
            self.pending.append((record.seq, leaf(record.line)))
            if len(self.pending) > FARTHEST:
                self.settle()

    @staticmethod
    def acceptance(record):
        """The accepted note; or only its size, where a witness did not show it."""
        names = [name for name, _ in DECODER.decode(record.line.decode())]
        note, object, size = (record.members.get(name) for name in ("note", "object", "size"))
        once = all(names.count(name) <= 1 for name in ("note", "object", "size"))
        texts = all(value is None or type(value) is str for value in (note, object))
        if not (once and texts and (size is None or is_number(size))):
            raise Bad("note, object or size of log.accepted is there twice or of another type")
        if note is not None:
            return Note(note)
        if object is None or size is None:
            raise Bad("log.accepted has neither a note nor object and size")
        return size

    def cosigned(self, record):
        """What a witness vouches for, in the log itself."""
        name, note = record.text("object"), Note(record.text("note"))
        if note.head() not in self.recent:
            if note.size < self.unread:
                return
            raise Bad(f"{name} cosigned something else than the seals before this record")
        keys, time, problem = [key for key in self.cosigners if key.name == name], None, None
        for key in keys:
            try:
                found = key.find(note)
            except Bad as bad:
                problem = bad
                continue
            if found is not None:
                time = found
                self.used.add(key.id)
        if keys and time is None:
            raise problem or Bad(f"not cosigned by {name} with a key that was given")
        count = self.vouched.get(name, (0,))[0] + 1
        self.vouched[name] = (count, note.size, time)

    def settle(self):
        self.settled, hash = self.pending.popleft()
        self.tree.push(hash)

    def key_for(self, kid):
        if self.key is None:
            candidates = self.given
        else:
            candidates = [self.key] + [key for place, key in self.introduced if place < self.size]
        for key in candidates:
            if key.kid == kid:
                return key
        raise Bad(f"sealed by the key {kid}, which was neither given nor introduced here")

    def seal(self, record, place):
        kid, after, peaks, text = canonical_seal(record)
        note = Note(text)
        key = None
        if self.given:
            key = self.key_for(kid)
            note.open(key)
        if self.origin not in (None, note.origin):
            raise Bad("the seal is of another log")
        if not self.size < note.size <= place:
            raise Bad(f"a seal of {note.size} records, after one of {self.size}, with {place} before it")
        raw = [unbase64(peak) for peak in peaks]
        tree = Tree(note.size, raw)
        if len(raw) != note.size.bit_count() or {len(peak) for peak in raw} != {32} or tree.root() != note.root:
            raise Bad("the seal's peaks do not give its root")
        found = [key.find(note) for key in self.seconds if key.name == note.origin]
        is_cosigned = any(time is not None for time in found)
        self.recent.append(note.head())
        if note.size >= self.unread:
            self.compare(note, after, tree)
        self.origin, self.size = note.origin, note.size
        self.good[note.size] = note
        if is_cosigned:
            self.cosigns = (self.cosigns[0] + 1, note.size)
            self.seconds += [key for place, key in self.newcomers if place < note.size and key.public]
            self.newcomers = [(place, key) for place, key in self.newcomers if place >= note.size]
        if key and (self.key is None or self.key.kid != key.kid):
            if self.key:
                self.introduced = [item for item in self.introduced if item[1].kid != self.key.kid]
            self.past.append(key)
            self.key = key

    def compare(self, note, after, tree):
        """The leaves against a seal; not for one from before the base, which later ones cover."""
        if note.size < self.tree.size:
            raise Bad("the seal is too far behind its place")
        while self.tree.size < note.size:
            self.settle()
        if self.tree.root() != note.root or self.settled != after:
            self.tree, self.settled = tree, after
            self.pending = deque(item for item in self.pending if item[0] > after)
            self.size, self.origin = note.size, note.origin
            raise Bad(f"the seal does not fit the records up to {after}")

    def covered(self):
        """Acceptances that a seal covers: the record and its note."""
        return [(record, note) for place, record, note in self.accepted if place < self.size]

    def problems(self, witnesses):
        """What is to be said at the end. `witnesses` are lists of notes with their places, in the order of their making."""
        if self.given and not self.good:
            yield "the log has no seal that holds"
        if self.base and (self.stated is False or self.stated >= self.size):
            yield "base: no log.archived that a seal covers says that the log begins there"
        known = self.given + self.past + [key for place, key in self.introduced if place < self.size]
        signed = lambda note: not self.given or any(note.is_open(key) for key in known)
        accepted = set()
        if self.seconds and not self.cosigns[0]:
            yield "no seal of the log is cosigned by the key that was given for that"
        for key in self.cosigners:
            if key.id not in self.used:
                yield f"the log has no cosignature of {key.name} with the key {key.id.hex()} that holds"
        for record, note in self.covered():
            if isinstance(note, int):
                continue
            if signed(note):
                accepted.add(note.head())
            else:
                yield f"record {record.seq} accepts a checkpoint that no key of this log signed"
        for notes in witnesses:
            # Before a note that was accepted; what was told later is not excused, though that note is there once more.
            first = {}
            for at, (_, note) in enumerate(notes):
                first.setdefault(note.head(), at)
            excused = max((at for head, at in first.items() if head in accepted), default=0)
            for at, (place, note) in enumerate(notes):
                good = self.good.get(note.size)
                found = good and good.head() == note.head()
                missing = not found and at >= excused and note.head() not in accepted
                if missing and note.size < self.unread and at + 1 < len(notes):
                    # Older than the log's beginning; but the newest one there must be comparable.
                    self.earlier += 1
                elif not signed(note):
                    yield f"{place} is not signed by a key of this log"
                elif missing:
                    yield f"{place}, of {note.size} records, is in none of the log's seals"


def first_gaps(segments):
    gaps = []
    for _, content in segments:
        line, end, _ = content.partition(b"\n")
        try:
            gap = Record(line).gap() if end else None
        except Bad:
            continue
        if gap:
            gaps.append(gap)
    return gaps


def verify(segments, keys, witnesses, told=None, cosigners=(), base=None, archive=None):
    """All problems, as sentences, one after the other. `segments` are names and contents, in order; `witnesses` the
    notes of each; `cosigners` keys of which there must be cosignatures; `base` is that file's content, if there is one; `archive` are segments that are kept elsewhere, if they
    are to be read. To `told` is added what is no problem and yet to be known."""
    last, doubtful, unvouched = 0, [], 0
    try:
        base = None if base is None else Base.read(base)
    except Bad as bad:
        base = None
        yield str(bad)
    if base:
        segments = [segment for segment in segments if int(segment[0][:20]) > base.after]
    if archive is not None:
        segments = [segment for segment in archive if not segments or segment[0] < segments[0][0]] + segments
    elif base:
        last = base.after
    gaps, seals = first_gaps(segments), Seals(keys, cosigners, base, archive is not None)
    for at, (name, content) in enumerate(segments):
        newest = at + 1 == len(segments)
        if not content and not newest:
            doubtful.append(f"{name} is empty")
        lines = content.split(b"\n")
        rest = lines.pop()
        offset = 0
        for number, line in enumerate(lines, 1):
            where = f"{name} line {number} at byte {offset}"
            offset += len(line) + 1
            try:
                record = Record(line)
            except Bad as bad:
                doubtful.append(f"{where}: {bad}")
                continue
            # Between these two nothing is known to have been on the disk.
            unknown = any(after <= last < record.seq <= resumed for after, resumed in gaps)
            if not unknown:
                yield from doubtful
            doubtful = []
            if number == 1 and f"{record.seq:020}.jsonl" != name:
                yield f"{where}: the segment's name is not that of its first record"
            if record.seq <= last:
                yield f"{where}: record {record.seq} after {last}"
            elif record.seq > last + 1 and not unknown:
                yield f"{where}: records {last + 1} to {record.seq - 1} are missing"
            last = max(last, record.seq)
            if any(after < record.seq < resumed for after, resumed in gaps):
                unvouched += 1
            else:
                try:
                    seals.leaf(record)
                except Bad as bad:
                    yield f"{where}: {bad}"
        if rest and (not newest or len(rest) >= LONGEST_LINE):
            doubtful.append(f"{name}: its last line has no end")
    yield from doubtful
    yield from seals.problems(witnesses)
    if told is None:
        return
    if base:
        told.append(f"begins: records up to {base.after}, {base.size} of them sealed, are no longer kept" + (" here" if archive else ""))
    if seals.earlier:
        told.append(f"earlier: {seals.earlier} checkpoints are older than the log's beginning and were not compared")
    for record, note in seals.covered():
        size = note if isinstance(note, int) else note.size
        told.append(f"record {record.seq} accepts that the log had {size} records once: {record.members.get('reason')}")
    if seals.cosigns[0]:
        told.append("cosigned: %d seals by ML-DSA-44, the last one of %d records" % seals.cosigns)
    for name, (count, size, time) in seals.vouched.items():
        when = "not checked (no --witness)" if time is None else f"the last one at {time} (Unix seconds)"
        told.append(f"witness {name}: {count} cosignatures, up to {size} records, {when}")
    if seals.good:
        told.append(f"sealed: {seals.size} records; {max(seals.place() - seals.size - 1, 0)} after the last seal are covered by none")
    else:
        told.append(f"sealed: nothing; no seal covers any of the {seals.place()} records")
    if gaps:
        told.append(f"gaps: {len(gaps)}; {unvouched} records lie in them, and no seal covers these")


def is_segment(name):
    return bool(SEGMENT.fullmatch(name)) and int(name[:20]) < 1 << 64


def read_directory(directory, archive=False):
    """The segments of a log, or of an archive, and what is wrong with its files."""
    segments, problems = [], []
    if os.stat(directory).st_mode & 0o077:
        problems.append(f"{directory}: others are let in")
    for name in sorted(name for name in os.listdir(directory) if name.endswith(".jsonl")):
        path = os.path.join(directory, name)
        if not is_segment(name) or os.path.islink(path) or not os.path.isfile(path):
            problems.append(f"{name} is not a segment")
            continue
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if status.st_mode & 0o077 or status.st_nlink > 1:
                problems.append(f"{name}: others are let in, or it has a second name")
            segments.append((name, file.read()))
    return segments, [] if archive else problems


def read_base(directory):
    try:
        descriptor = os.open(os.path.join(directory, "base"), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    with open(descriptor, "rb") as file:
        return file.read(1 << 14)


def read_keys(given, key=own_key):
    for text in given:
        if not text.startswith("@"):
            yield key(text)
            continue
        with open(text[1:], encoding="utf-8") as file:
            lines = [line.strip() for line in file]
        lines = [line for line in lines if line and not line.startswith("#")]
        if not lines:
            raise Bad(f"{text[1:]} holds no key")
        yield from map(key, lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("directory")
    parser.add_argument("--key", action="append", default=[], metavar="VKEY|@FILE")
    parser.add_argument("--checkpoint", action="append", default=[], metavar="FILE")
    parser.add_argument("--archive", metavar="DIRECTORY")
    parser.add_argument("--witness", action="append", default=[], metavar="VKEY|@FILE")
    arguments = parser.parse_args()
    witnesses, told = [], []
    try:
        keys = list(read_keys(arguments.key))
        cosigners = list(read_keys(arguments.witness, Cosigner))
        # Such keys have a public half only where they can be used.
        for key in [key for key in keys + cosigners if isinstance(key, Cosigner) and not key.public]:
            told.append(f"NOT CHECKED: cosignatures by {key.name}+{key.id.hex()}: this `cryptography` has no ML-DSA")
        keys, cosigners = ([key for key in some if key.public] for some in (keys, cosigners))
        for path in arguments.checkpoint:
            with open(path, encoding="utf-8", newline="") as file:
                notes, torn = read_witness(file.read(), path)
            if not notes:
                raise Bad(f"{path} holds no checkpoint, so nothing can be compared with it")
            witnesses.append(notes)
            told.append(f"{path}: {len(notes)} checkpoints, {torn} torn")
        base = read_base(arguments.directory)
        segments, problems = read_directory(arguments.directory)
        archive = read_directory(arguments.archive, archive=True)[0] if arguments.archive else None
    except (Bad, OSError, UnicodeDecodeError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    problems += verify(segments, keys, witnesses, told, cosigners, base, archive)
    for text in told + [f"PROBLEM {problem}" for problem in problems]:
        # Names are whatever somebody wrote there: nothing in them steers the terminal.
        print("".join("\ufffd" if is_control(c) or "\ud800" <= c <= "\udfff" else c for c in text))
    print(f"problems: {len(problems)}" if problems else "the log is sound" + ("" if any(isinstance(key, Key) for key in keys) else " (no --key: signatures were not checked)"))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
