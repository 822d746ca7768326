"""The audit log's checkpoints, its verification against them, proofs and the export."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from .. import page
from ..engine import forked
from ..errors import ReportingError, SourceUnavailable, UsageError, ValidationFailed
from ..seal import (
    KEY_CHANGED,
    PART,
    ChainReport,
    Claim,
    KeyChange,
    Keys,
    LogPart,
    Note,
    Signer,
    Tree,
    Walk,
    canonical,
    chain_hash,
    changes_of,
    check_proof,
    consistency_of,
    digest,
    inclusion_of,
    leaf_hash,
    parse_note,
    part_of,
    roots,
    signed_note,
)
from ..settings import bytes_of
from ..store import Store
from .service import Service

WITNESS = "audit-witness.jsonl"
#: What an export consists of.
LOG, CHECKPOINT, KEY = "log.jsonl", "checkpoint.txt", "key.vkey"
#: From so many entries on a second process helps more than it costs.
PARALLEL = 1 << 17
TASK = 8 * PART  # entries that a process reads with one connection
ROUND = 256 * PART  # entries of a running service's next look at the old ones, two million
LOCK_S, LOCK_STEP_S = 10.0, 0.02
NOT_SIGNED = "is not signed by"
SCAN = 1 << 16  # bytes of a file that are searched at once
#: Told how many entries are done, and of how many.
Steps = Callable[[int, int], None]
T = TypeVar("T")


def no_steps(_: int, __: int) -> None:
    """The steps of a caller that does not want any."""


# ---- checkpoints --------------------------------------------------------------------------------


def signer_of(service: Service) -> Signer | None:
    """Who signs checkpoints, or None where no key is configured (they are unsigned, then).

    :class:`UsageError` for a key that is configured and can't be used: never unsigned instead.
    """
    settings = service.settings
    if settings.checkpoint_key_file is None:
        return None
    key = settings.checkpoint_key_file
    return Signer.load(settings.checkpoint_origin, bytes_of(key), str(key))


def checkpoint(service: Service, witness: Path | None = None, *, whole: bool = False) -> Note:
    """The checkpoint of the log as it is; Ed25519 gives the same one the same bytes.

    What was appended since the last one in the witness file is read and hashed, with ``whole`` all
    of the log. :class:`ValidationFailed` if the log does not continue the last one: two histories
    are never both signed. What was edited before it is found by reading the whole.
    """
    return _checkpoint(service, witness or witness_of(service), signer_of(service), whole)[0]


def _checkpoint(
    service: Service, path: Path, signer: Signer | None, whole: bool
) -> tuple[Note, Tree]:
    """The checkpoint, and the tree it is of."""
    kept = Tree() if whole else _kept(path)  # before the witness file: never of more than it knows
    last = _last(path)
    size = service.store.log_size()  # after it was read: the witness never knows more than the log
    claims = [last.claim] if last else []
    if last is None or last.note is None or kept.size > last.claim.size:
        kept = Tree()  # nothing that it could be compared with
    if problem := _not_there(service.store, last.claim) if last else "":
        raise _changed(path, last, problem)
    walk = _walked(service.store, Walk(claims, kept), size)
    if walk.problem and kept.size:  # by what was kept, perhaps
        walk = _walked(service.store, Walk(claims), size)
    if problem := walk.end().problem:
        raise _changed(path, last, problem)
    if signer is not None:
        since = [c for c in walk.changes if last is None or c[0] > last.claim.size]
        _in_force(signer, last.note if last else None, changes_of(since))
    origin = service.settings.checkpoint_origin
    return signed_note(origin, size, walk.tree.root, walk.head, signer), walk.tree


def _changed(path: Path, last: _Record | None, problem: str) -> ValidationFailed:
    if last is None:
        return ValidationFailed(f"no checkpoint is made of a log that was changed: {problem}")
    return ValidationFailed(
        f"the audit log does not contain the last checkpoint in {path} ({last.claim.size} entries) "
        f"and what follows it: {problem}. It was changed since, and no checkpoint is made; run "
        "`reporting audit verify`"
    )


def _not_there(store: Store, last: Claim) -> str:
    """What one row shows: whether the log has the entry that the last checkpoint ends with."""
    row = store.log_entry(last.size) if last.size else None
    if row is None:
        return "" if last.size == 0 else "its tail was cut"
    if chain_hash(row.prev_hash, leaf_hash(row.entry)) != row.chain_hash:
        return f"entry {last.size} was edited"
    return "" if row.chain_hash == last.chain_hash else f"the chain up to entry {last.size} differs"


def _walked(store: Store, walk: Walk, until: int) -> Walk:
    """``walk``, gone on with up to entry ``until`` or the first problem."""
    if not walk.problem:
        for part in store.log_parts(walk.size + 1, until, walk.wanted):
            walk.add(part)
            if walk.problem:
                break
    return walk


def _in_force(signer: Signer, last: Note | None, changes: Sequence[KeyChange]) -> None:
    """Raise :class:`UsageError` where the log is another key's to sign.

    Of a process that has not been told yet that the key was changed, or of settings that changed
    it without saying so.
    """
    of = last.signed_as(signer.name) if last else []
    of += [c.new.id for c in changes if c.new.name == signer.name and c.signed_by(c.new)]
    if of and of[-1] != signer.verifier.id:
        raise UsageError(
            f"the audit log's checkpoints are signed by {signer.name}+{of[-1].hex()}, and "
            f"REPORTING_CHECKPOINT_KEY_FILE is {signer.name}+{signer.verifier.id.hex()}: set the "
            "key that signs now, or change it with `reporting audit rotate`"
        )


def _kept(path: Path) -> Tree:
    """The tree that was kept beside a witness file, to go on from; an empty one if there is none.

    Nothing rests on it: only if what was logged since leads from it to the witness file's last root
    is it used.
    """
    try:
        return Tree.parse(_beside(path).read_bytes())
    except (OSError, ValueError):
        return Tree()


def _keep(path: Path, tree: Tree) -> None:
    """Keep the tree of the last checkpoint; without it the next one reads the whole log."""
    name = _beside(path)
    partial = name.with_name(f".{name.name}.{os.getpid()}.partial")
    with suppress(OSError):
        partial.write_bytes(bytes(tree))
        partial.replace(name)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.tree")


def checkpoint_before(service: Service) -> page.Checkpoint:
    """The checkpoint that a report prints: of the log before the report itself is in it."""
    note = checkpoint(service)
    return page.Checkpoint(size=note.size, chain_hash=note.chain_hash.hex(), note=str(note))


def checkpoint_now(service: Service, witness: Path | None = None, *, whole: bool = False) -> Note:
    """Make the checkpoint of the log as it is and append it to the witness file.

    With ``whole`` all of the log is read first. :class:`SourceUnavailable` if the file can't be
    written.
    """
    path, signer = witness or witness_of(service), signer_of(service)
    if whole or not _kept(path).size:
        _read_again(service, path)
    with _appending(path) as file:
        return _appended(service, path, file, signer)


def _read_again(service: Service, path: Path) -> None:
    """Read the log up to the last checkpoint, and keep its tree.

    Nobody has to wait meanwhile: the witness file is not locked.
    """
    if last := _last(path):
        walk = _walked(service.store, Walk([last.claim]), last.claim.size)
        if problem := walk.end().problem:
            raise _changed(path, last, problem)
        _keep(path, walk.tree)


@contextmanager
def _appending(path: Path) -> Iterator[int]:
    """The witness file, open and nobody else's until the block ends."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            _lock(file.fileno(), path)  # freed when the file is closed
            yield file.fileno()
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # where the file is new, its name has to reach the disk too
        finally:
            os.close(folder)
    except OSError as error:
        raise SourceUnavailable(
            f"the witness file {path} can't be written ({error.strerror}): the log has no new "
            "checkpoint outside the database; mend it and run `reporting audit checkpoint`"
        ) from None


def _appended(service: Service, path: Path, file: int, signer: Signer | None) -> Note:
    """Append the checkpoint of the log as it is now."""
    note, tree = _checkpoint(service, path, signer, whole=False)
    _append(file, canonical({"note": str(note), "signed": note.signed}) + b"\n")
    _keep(path, tree)
    return note


def _lock(file: int, path: Path) -> None:
    """Be the only one that appends; :class:`SourceUnavailable` where another does not end.

    A process that was frozen while it had the lock would otherwise stop all others.
    """
    for _ in range(int(LOCK_S / LOCK_STEP_S)):
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOCK_STEP_S)
    raise SourceUnavailable(
        f"the witness file {path} has been locked by another process for {LOCK_S:.0f} s: the log "
        "has no new checkpoint outside the database; run `reporting audit checkpoint`"
    )


def _append(file: int, line: bytes) -> None:
    """Append a line to an open file, whole or not at all, and flushed to disk."""
    size = os.fstat(file).st_size
    # A line that has no end was never acknowledged: the machine stopped while it was written.
    begin = max(size - SCAN, 0)
    keep = begin + os.pread(file, SCAN, begin).rfind(b"\n") + 1
    os.ftruncate(file, keep)
    try:
        written = os.write(file, line)
        if written != len(line):
            raise OSError(28, "no space left")
        os.fsync(file)
    except OSError:
        os.ftruncate(file, keep)
        raise


def witness_of(service: Service) -> Path:
    """Where checkpoints are kept outside the database."""
    return service.settings.witness_file or service.settings.reports_dir / WITNESS


@dataclass(frozen=True)
class _Record:
    """A line of the witness file; the first ones ever had no note."""

    claim: Claim
    note: Note | None


def _records(path: Path) -> list[_Record]:
    """Everything in a witness file; :class:`ValidationFailed` names a line that is none."""
    lines = path.read_bytes().split(b"\n")[:-1]
    return [_record(line, f"{path}, line {number}") for number, line in enumerate(lines, 1)]


def _record(line: bytes, where: str) -> _Record:
    try:
        record = json.loads(line)
        if "note" not in record:
            chain = bytes.fromhex(record["chain_hash"])
            return _Record(Claim(int(record["size"]), chain, where=where), None)
        note = parse_note(record["note"])
    except (ValueError, KeyError, TypeError, ValidationFailed):
        raise ValidationFailed(
            f"{where} is no checkpoint: the file was changed; restore it from a backup"
        ) from None
    return _Record(Claim(note.size, note.chain_hash, note.root, where), note)


def _last(path: Path) -> _Record | None:
    """The last checkpoint in a witness file; None where it has none, or there is no file."""
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - SCAN, 0))
            lines = file.read().split(b"\n")
    except OSError as error:
        raise SourceUnavailable(
            f"the witness file {path} can't be read: {error.strerror}"
        ) from None
    return _record(lines[-2], f"{path}, its last line") if len(lines) > 1 else None


def witnessed(service: Service) -> int | None:
    """How many entries the last checkpoint in the witness file covers; None where there is none."""
    try:
        last = _last(witness_of(service))
    except ReportingError:
        return None
    return last.claim.size if last else None


def catch_up_witness(service: Service) -> bool:
    """A checkpoint where the witness file does not know of all entries; whether one was needed."""
    behind = witnessed(service) != service.store.log_size()
    if behind:
        checkpoint_now(service)
    return behind


@dataclass
class Rounds:
    """The whole log read again and again, a piece at a time, by a service that goes on for weeks.

    A checkpoint reads what is new. Whether anything older was changed shows here: each round ends
    at the last checkpoint there was when it began.
    """

    service: Service
    piece: int = ROUND
    _walk: Walk | None = None
    _until: int = 0

    def go_on(self) -> bool:
        """Read the next piece; whether a round ended with it.

        :class:`ValidationFailed` where the log is not what the witness file says.
        """
        if self._walk is None:
            last = _last(witness_of(self.service))
            self._until = last.claim.size if last else 0
            self._walk = Walk([last.claim] if last else [])
        walk, self._walk = self._walk, None  # after a problem the next round begins anew
        to = min(walk.size + self.piece, self._until)
        walk = _walked(self.service.store, walk, to)
        if not walk.problem and walk.size == to < self._until:
            self._walk = walk
            return False
        if problem := walk.end().problem:
            raise ValidationFailed(f"{problem}; `reporting audit verify` says more")
        return True


# ---- the key of checkpoints ---------------------------------------------------------------------


def keys_of(service: Service) -> Keys | None:
    """The keys that signed the log so far, as they are published; None where none is configured.

    :class:`ValidationFailed` where the log names another one than the configured key leads to.
    """
    signer = signer_of(service)
    if signer is None:
        return None
    return Keys((signer.verifier,)).followed(changes_of(service.store.key_changes()))


def rotate(service: Service, new: Path, *, lost: str = "") -> Note:
    """Hand the log's checkpoints over to the key in the file ``new``, and make the first by it.

    The log says so, signed by both keys; where the old one is ``lost``, whose public half that is,
    by the new one alone. From then on no process signs with the old one.
    """
    path, origin = witness_of(service), service.settings.checkpoint_origin
    signer = Signer.load(origin, bytes_of(new), str(new))
    old = None if lost else signer_of(service)
    if old is None and not lost:
        raise UsageError(
            "no checkpoint key is configured, so none is changed: set "
            f"REPORTING_CHECKPOINT_KEY_FILE to {new}; of a key that was lost name the public half "
            "(--lost)"
        )
    before = old.verifier if old else Keys.parse(lost).newest
    if signer.verifier == before:
        raise UsageError(f"{new} is the key that signs already; make one: `reporting audit keygen`")
    _read_again(service, path)
    with _appending(path) as file:
        if old is not None:
            _appended(service, path, file, old)  # what it still vouches for
        with service.store.writing() as writer:
            change = KeyChange(before, signer.verifier, writer.locked_size())
            change = change.signed(*([old] if old else []), signer)
            writer.log(
                KEY_CHANGED,
                {
                    "from": f"{before.name}+{before.id.hex()}",
                    "to": f"{signer.name}+{signer.verifier.id.hex()}",
                    "note": str(change),
                },
            )
        return _appended(service, path, file, signer)


# ---- what is logged -----------------------------------------------------------------------------


def record(service: Service, event: str, body: Mapping[str, Any]) -> None:
    """Log that something was viewed, downloaded or verified; without a checkpoint of its own."""
    with service.store.writing() as writer:
        writer.log(event, body)


def viewed(service: Service, report: str, facts: str, how: str) -> None:
    """Log that a person was shown all of a report; ``facts`` is the digest of what it says."""
    record(service, "report viewed", {"report": report, "facts": facts, "how": how})


def verified(service: Service, what: str, checked: int, problems: Sequence[str]) -> None:
    """Log that ``what`` was verified by a person, and what was found wrong with it first.

    Not as ``reporting_auditor``: that role writes nothing at all.
    """
    if service.store.may_append():
        first = {"problem": problems[0][:500]} if problems else {}
        body = {"of": what, "checked": checked, "failed": len(problems), **first}
        record(service, "verification made", body)


def note_configuration(service: Service) -> None:
    """Log the policy and the settings in use, if they differ from what the log last said.

    Digests, and the settings themselves without their secrets.
    """
    public = service.settings.public()
    now = {"policy": service.policy.digest, "settings": digest(canonical(public))}

    def same(before: Mapping[str, Any]) -> bool:
        return {k: v for k, v in before.items() if k in now} == now

    if same(service.store.configuration()):
        return
    with service.store.writing() as writer:
        before = writer.configuration()
        if same(before):  # another process was first
            return
        was = {name: before.get(name, "") for name in now}
        said = before.get("set", {})
        differ = {k: v for k, v in public.items() if said.get(k) != v}
        gone = sorted(set(said) - set(public))
        writer.log(
            "configuration changed",
            {**now, "before": was, "set": public, "changed": sorted([*differ, *gone])},
        )


# ---- verification -------------------------------------------------------------------------------


@dataclass(frozen=True)
class LogCheck:
    """What was found of the whole log; ``signed`` of ``notes`` checkpoints verified with ``keys``.

    ``claims`` is how many checkpoints from outside were compared, those in reports included.
    ``keys`` are those that were given and those that the log itself leads to from them.
    """

    report: ChainReport
    problem: str
    notes: int
    signed: int
    keys: Keys | None

    @property
    def ok(self) -> bool:
        """Whether the log is what everybody outside was told."""
        return not self.problem


def verify_log(
    service: Service,
    *,
    vkey: str = "",
    witnesses: Sequence[Path] = (),
    steps: Steps = no_steps,
) -> LogCheck:
    """Recompute the whole log and compare it with every checkpoint that is known outside.

    Those are the configured witness file, ``witnesses`` besides it, and what the issued reports in
    the reports folder print.
    """
    own = witness_of(service)
    records = [r for path in ([own] if own.is_file() else []) for r in _records(path)]
    for path in witnesses:
        records += _records(_readable(path))
    claims = [r.claim for r in records] + _printed(service)
    walk = Walk(claims)
    try:
        size = service.store.log_size()
        for part in _parts(service.store, size, walk.wanted):
            walk.add(part)
            steps(walk.size, size)
            if walk.problem:
                break
    except ValidationFailed as error:
        walk.problem = str(error)
    signer = signer_of(service) if not vkey else None
    keys = Keys.parse(vkey) if vkey else Keys((signer.verifier,)) if signer else None
    return _checked(walk, [r.note for r in records if r.note], keys, bool(vkey))


def _readable(path: Path) -> Path:
    if not path.is_file():
        raise UsageError(f"{path} is no file")
    return path


def _checked(walk: Walk, notes: Sequence[Note], keys: Keys | None, asked: bool) -> LogCheck:
    """The walk's result with that of the signatures.

    From the first note that is signed by the key for its size on, every later one has to be: nobody
    may go on without the key. With ``asked`` at least one has to be.
    """
    report = walk.end()
    signed, problem = 0, report.problem
    if keys is not None and not problem:
        try:
            keys = keys.followed(changes_of(walk.changes))
        except ValidationFailed as error:
            problem = str(error)
    for note in notes:
        if keys is None:
            break
        wrong = keys.problem(note)
        signed += not wrong
        if wrong and (signed or not wrong.startswith(NOT_SIGNED)) and not problem:
            problem = f"the checkpoint of {note.size} entries: {wrong}"
    if asked and keys is not None and not signed and not problem:
        problem = f"no checkpoint is signed by {keys.newest}"
    return LogCheck(report, problem, len(notes), signed, keys)


def _printed(service: Service) -> list[Claim]:
    """Checkpoints that reports print; one that can't be read is reported by its own check."""
    found = []
    for path in sorted(service.settings.reports_dir.glob("*/*/r*/facts.json")):
        try:
            told = json.loads(path.read_bytes())["checkpoint"]
            root = parse_note(told["note"]).root if told.get("note") else b""
            chain = bytes.fromhex(told["chain_hash"])
            found.append(Claim(int(told["size"]), chain, root, str(path)))
        except (ValueError, KeyError, TypeError, AttributeError, OSError, ValidationFailed):
            continue
    return found


def _parts(store: Store, size: int, wanted: Collection[int]) -> Iterator[LogPart]:
    """Every part of the log, hashed, in order."""
    tasks = ((first, min(first + TASK - 1, size)) for first in range(1, size + 1, TASK))
    return _mapped(lambda task: store.log_parts(*task, wanted), tasks, size)


def _mapped(
    work: Callable[[T], Iterable[LogPart]], tasks: Iterator[T], entries: int
) -> Iterator[LogPart]:
    """Parts of all tasks, in order; several processes work where there is enough to do."""
    run = map if entries < PARALLEL else forked
    for parts in run(lambda task: list(work(task)), tasks):
        yield from parts


# ---- export -------------------------------------------------------------------------------------


def export_log(service: Service, folder: Path, *, steps: Steps = no_steps) -> Note:
    """Write the log with its checkpoint and the public key into ``folder``, and log that.

    Line n of ``log.jsonl`` is entry n, byte for byte. What was written is verified.
    """
    note = checkpoint(service)
    files = {CHECKPOINT: str(note).encode()}
    if keys := keys_of(service):
        files[KEY] = str(keys).encode()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / LOG).open("xb") as file:
            file.writelines(service.store.log_lines(note.size))
        for name, body in files.items():
            (folder / name).write_bytes(body)
    except FileExistsError:
        raise UsageError(f"{folder / LOG} exists; name a new folder") from None
    except OSError as error:
        raise UsageError(f"{folder} can't be written: {error.strerror}") from None
    found = verify_file(folder / LOG, steps=steps)
    if not found.ok:
        raise ValidationFailed(f"the log that was written to {folder} is wrong: {found.problem}")
    record(service, "audit log exported", {"size": note.size, "root": note.root.hex()})
    return note


def verify_file(
    log: Path,
    *,
    checkpoints: Sequence[Path] = (),
    vkey: str = "",
    steps: Steps = no_steps,
) -> LogCheck:
    """Check an exported log against checkpoints, with no database.

    Without ``checkpoints`` and ``vkey`` those beside the file are taken.
    """
    beside = log.with_name(CHECKPOINT)
    paths = list(checkpoints) or [_readable(beside)]
    key = log.with_name(KEY)
    if not vkey and key.is_file():
        vkey = key.read_text("utf-8")
    notes, claims = [], []
    for path in paths:
        found = _of_file(_readable(path))
        claims += [r.claim for r in found]
        notes += [r.note for r in found if r.note]
    walk = Walk(claims)
    total = max((c.size for c in claims), default=0)
    spans = _spans(_readable(log))
    for part in _mapped(lambda span: [_lines_part(log, walk.wanted, span)], spans, total):
        walk.add(part)
        steps(walk.size, total)
        if walk.problem:
            break
    if walk.size > total:
        walk.problem = walk.problem or (
            f"{log} has {walk.size} entries, its checkpoint knows {total}: nothing vouches for the "
            "others"
        )
    return _checked(walk, notes, Keys.parse(vkey) if vkey else None, bool(vkey))


def notes_in(path: Path) -> list[Note]:
    """The checkpoints of a witness file, or the one of a file that holds one note."""
    return [record.note for record in _of_file(_readable(path)) if record.note]


def _of_file(path: Path) -> list[_Record]:
    """The checkpoints of a witness file, or of a file that holds one note."""
    body = path.read_bytes()
    if body.startswith(b"{"):
        return _records(path)
    try:
        note = parse_note(body.decode("utf-8"))
    except (UnicodeDecodeError, ValidationFailed) as error:
        raise ValidationFailed(f"{path} {error}") from None
    return [_Record(Claim(note.size, note.chain_hash, note.root, str(path)), note)]


def _spans(path: Path) -> Iterator[tuple[int, int, int]]:
    """Each part of an exported log: its first entry, and where it begins and ends in the file.

    Newlines are counted block by block; only where a part ends is a block looked at more closely.
    """
    first, begin, at, lines = 1, 0, 0, 0
    with path.open("rb") as file:
        while block := file.read(SCAN):
            more = block.count(b"\n")
            if lines + more < PART:
                lines, at = lines + more, at + len(block)
                continue
            rest = block.split(b"\n", PART - lines)[-1]
            end = at + len(block) - len(rest)
            yield first, begin, end
            first, begin, at, lines = first + PART, end, end, 0
            file.seek(end)
    if at > begin:
        yield first, begin, at


def _lines_part(path: Path, wanted: Collection[int], span: tuple[int, int, int]) -> LogPart:
    first, at, end = span
    with path.open("rb") as file:
        file.seek(at)
        lines = file.read(end - at).removesuffix(b"\n")
    return part_of(first, lines.split(b"\n"), wanted, joined=lines)


# ---- proofs -------------------------------------------------------------------------------------


def prove(service: Service, seq: int) -> dict[str, Any]:
    """A proof, to be checked without us, that entry ``seq`` is in the log; logged."""
    note = checkpoint(service)
    entry = service.store.log_entry(seq)
    if entry is None or seq > note.size:
        raise UsageError(f"the audit log has no entry {seq}; it has 1 to {note.size}")
    proof = inclusion_of(seq, entry.entry, list(service.store.log_leaves(note.size)), note)
    check_proof(proof, None)
    record(service, "audit proof made", {"entry": seq, "size": note.size})
    return proof


def entry_of_report(service: Service, report: str) -> int:
    """The number of the entry that says that ``report`` (``daily/2025-12-05/r1``) was issued."""
    for seq, body in service.store.issued_entries():
        if body["report"] == report:
            return seq
    raise UsageError(f"{report!r} was not issued; `reporting status` lists what was")


def prove_growth(service: Service, old: int, new: int) -> dict[str, Any]:
    """A proof that the log at ``new`` entries begins with the log at ``old``; logged."""
    size = checkpoint(service).size
    if not 0 < old <= new <= size:
        raise UsageError(f"{old} and {new} are no two sizes of the log; it has {size} entries")
    store, signer, origin = service.store, signer_of(service), service.settings.checkpoint_origin
    leaves = list(store.log_leaves(new))
    found = roots(leaves, {old, new})
    keys, path = keys_of(service), witness_of(service)
    told = {r.claim.size: r.note for r in (_records(path) if path.is_file() else [])}

    def note_at(n: int) -> Note:
        if note := told.get(n):
            return note
        if keys is not None and keys.at(n) != keys.newest:
            raise UsageError(
                f"a checkpoint of {n} entries was {keys.at(n)}'s to sign; choose a size of which "
                f"{path} has one"
            )
        head = store.log_entry(n)
        assert head is not None  # its leaf was just read
        return signed_note(origin, n, found[n], head.chain_hash, signer)

    proof = consistency_of(note_at(old), note_at(new), leaves)
    check_proof(proof, None)
    record(service, "audit proof made", {"from": old, "size": new})
    return proof
