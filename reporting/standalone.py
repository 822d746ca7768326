#!/usr/bin/env python3
"""Checks an archive of reports with nothing but Python and a published key.

    python3 verify.py --key "NAME+HASH+KEY"
    python3 verify.py FOLDER --key-file published.vkey --witness notes-from-elsewhere.txt

A log whose key was changed has several: published.vkey then has a key a line, the oldest first, and
behind each but the newest the last size of the log that it may sign. One of them will do, too: the
log leads from it to the others, by changes that both keys signed.

It comes with the archive and shares no code with the service that made it; read it before you run
it, or write your own: every format is a public one. Needs Python 3.9 or newer, no package, no
network.

What is checked: every file against the manifest; the audit log entry by entry, its chain and its
Merkle tree (RFC 9162); the checkpoint's Ed25519 signature (C2SP signed note) by the key that you
give; every witness note; every sealed day and every file of every report against what the log says
was sealed and issued; that the facts inside each PDF are the facts beside it, and the rendered PDF
is the beginning of the signed one; the provenance of each report (an in-toto statement in a DSSE
envelope) and its Ed25519 signature by the same key; that each revision replaces the one before.

What is not shown by it: that an entry was true when it was written, anything at all before the
first checkpoint that somebody else kept, and who signed a PDF (`reporting verify` and any reader of
PAdES show that). Without a key the archive is only consistent with itself,
and the answer says so. Ask for the key where you would ask for the auditor's telephone number: not
in the archive.

Exit codes: 0 all is as it was recorded, 2 wrong usage, 4 something is not.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import json
import re
import sys
import zlib
from pathlib import Path
from typing import Any

ENTRIES, NOTE, WITNESS = "log/log.jsonl", "log/checkpoint.txt", "log/witness.jsonl"
MANIFEST = "manifest.json"
PAYLOAD, STATEMENT = "application/vnd.in-toto+json", "https://in-toto.io/Statement/v1"
DASH = "\u2014"
#: A point of the curve in extended coordinates.
Point = tuple[int, int, int, int]
EMPTY_ROOT = hashlib.sha256(b"").digest()


def sha256(content: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(content).hexdigest()


class Wrong(Exception):
    """Something is not what was recorded."""


# ---- Ed25519 (RFC 8032, 5.1.7): verification in integers, about 5 ms a signature ----------------

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)


def add(a: Point, b: Point) -> Point:
    """The sum of two points in extended coordinates."""
    u, v = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    c, d = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = v - u, d - c, d + c, v + u
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(scalar: int, point: Point) -> Point:
    """A point added to itself so often."""
    total = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            total = add(total, point)
        point = add(point, point)
        scalar >>= 1
    return total


def point_of(encoded: bytes) -> Point:
    """The point of 32 bytes; :class:`Wrong` where they are none."""
    y = int.from_bytes(encoded, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= P:
        raise Wrong("a point of the signature or key is not canonical")
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT_OF_MINUS_ONE % P
    if (x * x - square) % P or (x == 0 and sign):
        raise Wrong("a point of the signature or key is not on the curve")
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


BASE = point_of((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def signed_by(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether ``signature`` (64 bytes) of ``message`` is by the Ed25519 ``key`` (32 bytes)."""
    if len(key) != 32 or len(signature) != 64:
        return False
    s = int.from_bytes(signature[32:], "little")
    if s >= ORDER:
        return False
    try:
        public, commitment = point_of(key), point_of(signature[:32])
    except Wrong:
        return False
    hashed = hashlib.sha512(signature[:32] + key + message).digest()
    challenge = int.from_bytes(hashed, "little") % ORDER
    left, right = times(s, BASE), add(commitment, times(challenge, public))
    return not (
        (left[0] * right[2] - right[0] * left[2]) % P
        or (left[1] * right[2] - right[1] * left[2]) % P
    )


# ---- signed notes (C2SP signed-note and tlog-checkpoint) ----------------------------------------


class Key:
    """A published key, ``NAME+HASH+KEY``."""

    def __init__(self, text: str) -> None:
        name, _, rest = text.strip().partition("+")
        number, _, encoded = rest.partition("+")
        try:
            raw = base64.b64decode(encoded, validate=True)
            self.hash = bytes.fromhex(number)
        except (binascii.Error, ValueError):
            raise Wrong(f"{text.strip()!r} is no key; expected NAME+HASH+KEY") from None
        self.name, self.key = name, raw[1:]
        expected = hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4]
        if raw[:1] != b"\x01" or len(raw) != 33 or self.hash != expected:
            raise Wrong(f"{text.strip()!r} is no Ed25519 key, or was copied with a mistake")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and (self.name, self.key) == (other.name, other.key)

    def __hash__(self) -> int:
        return hash((self.name, self.key))

    def __str__(self) -> str:
        return f"{self.name}+{self.hash.hex()}"


class Keys:
    """The keys of one log, the oldest first, and up to which size each but the newest may sign."""

    def __init__(self, text: str) -> None:
        lines = [line.split() for line in text.splitlines() if line.strip()] or [[text]]
        self.keys = [Key(line[0]) for line in lines]
        if any(len(line) != 2 or not line[1].isdecimal() for line in lines[:-1]) or lines[-1][1:]:
            raise Wrong("behind each key but the last one expected the last size that it may sign")
        self.until = [int(line[1]) for line in lines[:-1]]
        if self.until != sorted(self.until):
            raise Wrong("the keys are not in order: expected the oldest first")

    def at(self, size: int) -> Key:
        """The key that signs a log of ``size`` entries."""
        return self.keys[sum(size > until for until in self.until)]

    def follow(self, changes: list[Change]) -> None:
        """Learn the keys that these vouch for, the later and the earlier ones.

        ``changes`` are all that the log states. :class:`Wrong` where one leads from or to no key
        that is known so.
        """
        for change in changes:
            if change.old == self.keys[-1] and change.is_signed_by(change.old):
                self.keys.append(change.new)
                self.until.append(change.size)
        for change in reversed(changes):
            if change.new == self.keys[0] and change.is_signed_by(change.new):
                self.keys.insert(0, change.old)
                self.until.insert(0, change.size)
        known = [(self.keys[n], self.keys[n + 1], until) for n, until in enumerate(self.until)]
        for change in changes:
            if not any(
                (old, new) == (change.old, change.new) and until <= change.size
                for old, new, until in known
            ):
                raise Wrong(f"entry {change.size + 1} changes the key, and no known key says so")
        if self.until != sorted(self.until):
            raise Wrong("the changes of the key contradict each other")


class Change:
    """A statement in the log: from its entry on ``new`` signs, and ``old`` no more."""

    def __init__(self, entry: dict[str, Any]) -> None:
        body, _, signatures = entry["body"]["note"].partition("\n\n")
        lines = body.split("\n")
        if len(lines) != 5 or lines[1] != "checkpoint key changed":
            raise Wrong(f"entry {entry['seq']} changes the key, and its note does not say so")
        self.size, self.old, self.new = int(lines[2]), Key(lines[3]), Key(lines[4])
        if self.size != entry["seq"] - 1 or lines[0] != self.new.name:
            raise Wrong(f"entry {entry['seq']} changes the key, and its note is of another entry")
        self.body = (body + "\n").encode()
        self.signatures = [line for line in signatures.split("\n") if line]

    def is_signed_by(self, key: Key) -> bool:
        """Whether one of its signatures is by ``key``."""
        return any(is_signature(line, self.body, key) for line in self.signatures)


def is_signature(line: str, body: bytes, key: Key) -> bool:
    """Whether a line of a signed note is the signature of ``body`` by ``key``."""
    if not re.fullmatch(DASH + r" [^ +]+ [A-Za-z0-9+/]+=*", line):
        raise Wrong(f"no signature line: {line[:60]!r}")
    _, name, encoded = line.split(" ")
    raw = base64.b64decode(encoded)
    mine = base64.b64encode(raw).decode() == encoded and name == key.name and raw[:4] == key.hash
    return mine and signed_by(key.key, body, raw[4:])


class Note:
    """One checkpoint: how many entries there were, and the root of their tree."""

    def __init__(self, text: str) -> None:
        body, blank, signatures = text.partition("\n\n")
        lines = body.split("\n")
        try:
            self.origin, size, root = lines[:3]
            self.size = int(size)
            self.root = base64.b64decode(root, validate=True)
            plain = str(self.size) == size and base64.b64encode(self.root).decode() == root
        except (ValueError, binascii.Error):
            raise Wrong(f"no checkpoint: {body[:60]!r}") from None
        if not blank or not plain or self.size < 0 or len(self.root) != 32 or not self.origin:
            raise Wrong(f"no checkpoint: {body[:60]!r}")
        self.body, self.extensions = (body + "\n").encode(), lines[3:]
        self.signatures = [line for line in signatures.split("\n") if line]
        for line in self.signatures:
            if not re.fullmatch(DASH + r" [^ +]+ [A-Za-z0-9+/]+=*", line):
                raise Wrong(f"no signature line: {line[:60]!r}")

    def is_signed_by(self, key: Key) -> bool:
        """Whether one of its signatures is by ``key``; the others are of others."""
        return any(is_signature(line, self.body, key) for line in self.signatures)


def notes_of(text: str) -> list[Note]:
    """The notes of a file, one after the other, each ended by its signatures."""
    found: list[Note] = []
    current: list[str] = []
    for line in text.split("\n"):
        if line.startswith("{"):  # as the service's own witness file has them
            record = json.loads(line)
            if "note" in record:
                found.append(Note(record["note"]))
            continue
        if current and current[-1].startswith(DASH) and not line.startswith(DASH):
            found.append(Note("\n".join(current) + "\n"))
            current = []
            if not line:
                continue
        if line or current:
            current.append(line)
    if any(current):
        found.append(Note("\n".join(current)))
    return found


# ---- the log: chain and Merkle tree -------------------------------------------------------------


class Log:
    """The entries in order, with the chain and the tree's peaks (RFC 9162, 2.1.1)."""

    def __init__(self) -> None:
        self.size, self.chain = 0, bytes(32)
        self.peaks: list[bytes] = []

    def append(self, entry: bytes) -> None:
        """One more entry."""
        leaf = hashlib.sha256(b"\x00" + entry).digest()
        self.chain = hashlib.sha256(b"\x02" + self.chain + leaf).digest()
        count = self.size
        while count & 1:
            leaf = hashlib.sha256(b"\x01" + self.peaks.pop() + leaf).digest()
            count >>= 1
        self.peaks.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """The Merkle root of what there is so far."""
        if not self.peaks:
            return EMPTY_ROOT
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = hashlib.sha256(b"\x01" + peak + root).digest()
        return root


# ---- the archive --------------------------------------------------------------------------------


class Archive:
    """Files by name; a folder in practice."""

    def __init__(self, files: dict[str, bytes], keys: Keys | None, witnesses: str = "") -> None:
        self.files, self.keys, self.witnesses = files, keys, witnesses
        self.results: list[tuple[str, str]] = []
        self.days: dict[str, str] = {}
        self.reports: dict[str, dict[str, Any]] = {}
        self.changes: list[Change] = []

    def say(self, what: str, problem: str = "") -> None:
        """One thing was checked; with a problem it is not as recorded."""
        self.results.append((what, problem))

    def check(self) -> list[tuple[str, str]]:
        """All checks; (what, problem) each, the problem "" where there is none."""
        for step in (self.manifest, self.log, self.sealed_days, self.issued_reports):
            try:
                step()
            except Wrong as wrong:
                self.say(str(step.__doc__).rstrip("."), str(wrong))
            except (
                KeyError,
                TypeError,
                ValueError,
                IndexError,
                AttributeError,
                RecursionError,
            ) as error:
                self.say(str(step.__doc__).rstrip("."), f"can't be read: {error!r}")
        return self.results

    def read(self, name: str) -> bytes:
        """A file that has to be there."""
        if name not in self.files:
            raise Wrong(f"{name} is missing")
        return self.files[name]

    def manifest(self) -> None:
        """The manifest."""
        body = self.read(MANIFEST)
        listed = json.loads(body)
        if body != canonical(listed):
            raise Wrong("the manifest is not canonical JSON")
        told = {name: value for name, value in listed.items() if name != "digest"}
        if listed.get("digest") != sha256(canonical(told)):
            raise Wrong("the manifest is not what its own digest says")
        wanted = listed["files"]
        have = {name: sha256(content) for name, content in self.files.items() if name != MANIFEST}
        for name in sorted(set(wanted) | set(have)):
            if name not in have:
                self.say(name, "is missing")
            elif name not in wanted:
                self.say(name, "is not part of the archive")
            elif wanted[name] != have[name]:
                self.say(name, "is not the file that was archived")
        self.say(f"manifest, {len(wanted)} files")

    def log(self) -> None:
        """The audit log."""
        lines = self.read(ENTRIES).split(b"\n")
        if lines.pop() != b"":
            raise Wrong("the last entry is cut off")
        notes = [(n, True) for n in notes_of(self.read(NOTE).decode())]
        kept = self.files.get(WITNESS, b"").decode() + self.witnesses
        notes += [(n, False) for n in notes_of(kept)]
        wanted = {note.size for note, _ in notes}
        log, roots, chains = Log(), {0: EMPTY_ROOT}, {0: bytes(32)}
        for number, line in enumerate(lines, 1):
            entry = json.loads(line)
            if canonical(entry) != line or entry["seq"] != number:
                raise Wrong(f"entry {number} is not canonical, or not in its place")
            log.append(line)
            if number in wanted:
                roots[number], chains[number] = log.root(), log.chain
            self.take(entry)
        self.say(f"audit log, {log.size} entries in order")
        if self.keys is not None:
            self.keys.follow(self.changes)
        newest = -1
        for note, own in notes:
            whose = "checkpoint" if own else "witness note"
            if note.size > log.size:
                self.say(f"{whose} of {note.size} entries", f"the log has {log.size}: cut off")
            elif roots[note.size] != note.root:
                self.say(f"{whose} of {note.size} entries", "the log up to it is another one")
            elif any(
                e.startswith("chain ") and e != f"chain {chains[note.size].hex()}"
                for e in note.extensions
            ):
                self.say(f"{whose} of {note.size} entries", "the chain up to it is another one")
            elif (
                (key := self.key_at(note.size))
                and (own or note.signatures)
                and not (note.is_signed_by(key))
            ):
                self.say(f"{whose} of {note.size} entries", f"not signed by {key}")
            else:
                proved = ", signed" if key and note.signatures else ""
                self.say(f"{whose} of {note.size} entries{proved}")
                if own and note.size > newest:
                    newest = note.size
        if newest != log.size:
            raise Wrong(f"no checkpoint is of all {log.size} entries")

    def key_at(self, size: int) -> Key | None:
        """The key that signs the log of ``size`` entries; None where no key was given."""
        return self.keys.at(size) if self.keys else None

    def take(self, entry: dict[str, Any]) -> None:
        """Remember what an entry speaks of."""
        event, body = entry["event"], entry["body"]
        if event in ("day sealed", "day restated"):
            self.days[f"{body['day']}/r{body['revision']}"] = body["digest"]
        elif event == "report issued":
            self.reports[body["report"]] = dict(body)
        elif event == "checkpoint key changed":
            self.changes.append(Change(entry))
        elif event == "report purged":
            self.reports[body["report"]]["purged"] = f"on {entry['at'][:10]} by {body['by']}"

    def sealed_days(self) -> None:
        """The sealed days."""
        count = 0
        for name in sorted(self.files):
            found = re.fullmatch(r"days/(.+/r\d+)\.json", name)
            if found is None:
                continue
            count += 1
            if sha256(self.files[name]) != self.days.get(found[1]):
                self.say(name, "is not what the log says was sealed")
        self.say(f"sealed days, {count} revisions")

    def issued_reports(self) -> None:
        """The issued reports."""
        listed = json.loads(self.read(MANIFEST))["reports"]
        there = {
            m[1] for m in (re.match(r"reports/([^/]+/[^/]+/r\d+)/", n) for n in self.files) if m
        }
        outside = sorted(set(self.reports) - there - set(listed))
        if outside:
            self.say(
                f"{len(outside)} reports of the log are of other periods: {', '.join(outside)}"
            )
        for name in sorted(there | set(listed)):
            if name not in self.reports:
                self.say(name, "is not in the audit log")
            elif name not in there and self.reports[name].get("purged"):
                self.say(
                    f"{name} purged on {self.reports[name]['purged']}; the log has its digests"
                )
            elif name not in there:
                self.say(name, "was issued and is not in the archive")
            elif name in there:
                self.report(name, self.reports[name])

    def report(self, name: str, logged: dict[str, Any]) -> None:
        """One issued report."""
        folder, before = f"reports/{name}/", len(self.results)
        signature = logged.get("signature", {"rendered_bytes": None, "files": {}})
        issued = {**logged["files"], **signature["files"]}
        wanted = {**issued, "provenance.json": logged["provenance"]}
        beside = {n[len(folder) :] for n in self.files if n.startswith(folder)}
        for file, digest in sorted(wanted.items()):
            if file not in beside:
                self.say(folder + file, "is missing")
            elif sha256(self.files[folder + file]) != digest:
                self.say(folder + file, "is not the file that was issued")
        for file in sorted(beside - set(wanted)):
            self.say(folder + file, "is not part of the report")
        if len(self.results) > before:
            return
        facts = json.loads(self.files[folder + "facts.json"])
        kind, period, revision = name.split("/")
        if facts["id"] != name:
            self.say(name, f"its facts are those of {facts['id']}")
        if revision != "r1" and facts["supersedes"] != f"{kind}/{period}/r{int(revision[1:]) - 1}":
            self.say(name, "does not say that it replaces the revision before")
        for cited in facts["citations"]:
            if self.days.get(f"{cited['day']}/r{cited['revision']}") != cited["digest"]:
                self.say(name, f"cites a day {cited['day']} that was never sealed so")
        pdf = self.files[folder + "report.pdf"]
        if sha256(pdf[: signature["rendered_bytes"]]) != logged["files"]["report.pdf"]:
            self.say(name, "its signed PDF does not begin with the one that was rendered")
        size = facts["checkpoint"]["size"]
        by = self.provenance(name, logged["files"], signature["files"], self.key_at(size))
        inside = embedded(pdf)
        if inside and sha256(self.files[folder + "facts.json"]) not in inside:
            self.say(name, "the facts inside the PDF are not the facts beside it")
        if len(self.results) == before:
            self.say(f"report {name}, {len(wanted)} files, {by}")

    def provenance(
        self, name: str, rendered: dict[str, str], signed: dict[str, str], key: Key | None
    ) -> str:
        """Check a report's provenance against what the log knows; says in words who signed it.

        ``key`` is the one that signed checkpoints when it was issued.
        """
        body = self.files[f"reports/{name}/provenance.json"]
        envelope = json.loads(body)
        rest = {key: value for key, value in envelope.items() if key != "digest"}
        if canonical({**rest, "digest": sha256(canonical(rest))}) != body:
            self.say(name, "its provenance does not match its own digest")
        kind, payload = envelope["payloadType"], base64.b64decode(envelope["payload"])
        statement = json.loads(payload)
        if kind != PAYLOAD or statement["_type"] != STATEMENT:
            self.say(name, f"its provenance is no in-toto statement, but {kind}")
        made = statement["predicate"]["runDetails"]["byproducts"]
        if digests(statement["subject"]) != rendered or digests(made) != signed:
            self.say(name, "its provenance is of other files")
        said = f"DSSEv1 {len(kind.encode())} {kind} {len(payload)} ".encode() + payload  # PAE
        names = [signature["keyid"] for signature in envelope["signatures"]]
        if not names:
            return "provenance UNSIGNED"
        if key is None or str(key) not in names:
            if self.keys and any(str(other) in names for other in self.keys.keys):
                self.say(name, f"its provenance is signed by {names[0]}, and then {key} signed")
            return f"provenance said to be signed by {', '.join(names)}: not checked"
        for signature in envelope["signatures"]:
            if signature["keyid"] == str(key):
                if not signed_by(key.key, said, base64.b64decode(signature["sig"])):
                    self.say(name, f"its provenance is not signed by {key.name}")
        return f"provenance signed by {key.name}"


def digests(resources: list[dict[str, Any]]) -> dict[str, str]:
    """SHA-256 by name of in-toto's resource descriptors."""
    return {resource["name"]: resource["digest"]["sha256"] for resource in resources}


def embedded(pdf: bytes) -> set[str]:
    """SHA-256 of every file inside a PDF that lies there plainly or deflated."""
    found = set()
    for match in re.finditer(
        rb"<<(?:[^<>]|<<[^<>]*>>)*?/EmbeddedFile(?:[^<>]|<<[^<>]*>>)*?>>\s*stream\r?\n", pdf
    ):
        length = re.search(rb"/Length (\d+)", match[0])
        content = pdf[match.end() : match.end() + int(length[1])] if length else b""
        if b"/FlateDecode" in match[0]:
            try:
                content = zlib.decompress(content)
            except zlib.error:
                continue
        found.add(sha256(content))
    return found


def canonical(value: object) -> bytes:
    """RFC 8785 for what the log holds: strings, integers, objects with ASCII names."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).resolve().parent)
    parser.add_argument("--key", help="the published key, NAME+HASH+KEY")
    parser.add_argument("--key-file", type=Path, help="the file with the published keys")
    parser.add_argument("--witness", type=Path, help="checkpoints that somebody else kept")
    parser.add_argument("--json", action="store_true", help="one JSON object, for machines")
    given = parser.parse_args(arguments)
    try:
        text = given.key or (given.key_file.read_text("utf-8") if given.key_file else "")
        keys = Keys(text) if text else None
        witnesses = given.witness.read_text("utf-8") if given.witness else ""
        if not (given.folder / MANIFEST).is_file():
            raise Wrong(f"{given.folder} holds no {MANIFEST}: it is no archive")
    except (OSError, Wrong, UnicodeDecodeError) as error:
        print(f"verify: {error}", file=sys.stderr)
        return 2
    files = {
        path.relative_to(given.folder).as_posix(): path.read_bytes()
        for path in given.folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    results = Archive(files, keys, witnesses).check()
    problems = [(what, problem) for what, problem in results if problem]
    shown = "signed" if keys else "consistent with itself only: no key was given"
    if given.json:
        print(
            json.dumps(
                {
                    "ok": not problems,
                    "authentic": bool(keys) and not problems,
                    "checked": len(results),
                    "problems": [{"what": w, "problem": p} for w, p in problems],
                }
            )
        )
    else:
        for what, problem in results:
            print(f"WRONG  {what}: {problem}" if problem else f"ok     {what}")
        if problems:
            print(f"\n{len(results)} checks, {len(problems)} FAILED")
        else:
            print(f"\n{len(results)} checks, none failed; {shown}")
    return 4 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
