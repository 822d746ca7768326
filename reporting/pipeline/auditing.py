"""The audit log's checkpoints, its verification against them, proofs and the export."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from .. import page
from ..engine import forked
from ..errors import SourceUnavailable, UsageError, ValidationFailed
from ..seal import (
    GENESIS,
    PART,
    ChainReport,
    Claim,
    LogPart,
    Note,
    Signer,
    Verifier,
    Walk,
    canonical,
    check_proof,
    consistency_of,
    digest,
    inclusion_of,
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
LOCK_S, LOCK_STEP_S = 10.0, 0.02
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


def checkpoint(service: Service, witness: Path | None = None) -> Note:
    """The checkpoint of the log as it is; Ed25519 gives the same one the same bytes.

    :class:`ValidationFailed` if the log no longer contains the last one in the witness file: two
    histories are never both signed.
    """
    path = witness or witness_of(service)
    told = [r.note for r in _records(path) if r.note] if path.is_file() else []
    last = told[-1] if told else None
    store = service.store
    size = store.log_size()  # after the witness was read: it never knows more than the log
    head = store.log_entry(size)
    sizes = {size, last.size} if last else {size}
    found = roots(store.log_leaves(size), {n for n in sizes if n <= size})
    if last and found.get(last.size) != last.root:
        raise ValidationFailed(
            f"the audit log does not contain the last checkpoint in {path} ({last.size} entries): "
            "it was changed since, and no checkpoint is made; run `reporting audit verify`"
        )
    return signed_note(
        service.settings.checkpoint_origin,
        size,
        found[size],
        head.chain_hash if head else GENESIS,
        signer_of(service),
    )


def checkpoint_before(service: Service) -> page.Checkpoint:
    """The checkpoint that a report prints: of the log before the report itself is in it."""
    note = checkpoint(service)
    return page.Checkpoint(size=note.size, chain_hash=note.chain_hash.hex(), note=str(note))


def checkpoint_now(service: Service, witness: Path | None = None) -> Note:
    """Make the checkpoint of the log as it is and append it to the witness file.

    :class:`SourceUnavailable` if the file can't be written.
    """
    path = witness or witness_of(service)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            _lock(file.fileno(), path)  # freed when the file is closed
            note = checkpoint(service, path)
            _append(file.fileno(), canonical({"note": str(note), "signed": note.signed}) + b"\n")
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
    keep = os.pread(file, size, 0).rfind(b"\n") + 1
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
    found = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        where = f"{path}, line {number}"
        try:
            record = json.loads(line)
            if "note" in record:
                note = parse_note(record["note"])
                found.append(_Record(Claim(note.size, note.chain_hash, note.root, where), note))
            else:
                chain = bytes.fromhex(record["chain_hash"])
                found.append(_Record(Claim(int(record["size"]), chain, where=where), None))
        except (ValueError, KeyError, TypeError, ValidationFailed):
            raise ValidationFailed(
                f"{where} is no checkpoint: the file was changed; restore it from a backup"
            ) from None
    return found


def witnessed(service: Service) -> int | None:
    """How many entries the last checkpoint in the witness file covers; None where there is none."""
    path = witness_of(service)
    try:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - SCAN, 0))
            lines = file.read().split(b"\n")
        record = json.loads(lines[-2])
        return int(parse_note(record["note"]).size if "note" in record else record["size"])
    except (OSError, IndexError, ValueError, KeyError, TypeError, ValidationFailed):
        return None


def catch_up_witness(service: Service) -> bool:
    """A checkpoint where the witness file does not know of all entries; whether one was needed."""
    behind = witnessed(service) != service.store.log_size()
    if behind:
        checkpoint_now(service)
    return behind


# ---- what is logged -----------------------------------------------------------------------------


def record(service: Service, event: str, body: Mapping[str, Any]) -> None:
    """Log that something was viewed, downloaded or signed off; without a checkpoint of its own.

    Events in use: "audit log exported", "audit proof made", "report viewed", "report signed off".
    """
    with service.store.writing() as writer:
        writer.log(event, body)


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
    """What was found of the whole log; ``signed`` of ``notes`` checkpoints verified with ``key``.

    ``claims`` is how many checkpoints from outside were compared, those in reports included.
    """

    report: ChainReport
    problem: str
    notes: int
    signed: int
    key: str

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
    verifier = _verifier(service, vkey)
    return _checked(walk.end(), [r.note for r in records if r.note], verifier, bool(vkey))


def _readable(path: Path) -> Path:
    if not path.is_file():
        raise UsageError(f"{path} is no file")
    return path


def _verifier(service: Service, vkey: str) -> Verifier | None:
    if vkey:
        return Verifier.parse(vkey)
    signer = signer_of(service)
    return signer.verifier if signer else None


def _checked(
    report: ChainReport, notes: Sequence[Note], verifier: Verifier | None, asked: bool
) -> LogCheck:
    """The walk's result with that of the signatures.

    From the first note that ``verifier`` signed on, every later one has to be signed by it too:
    nobody may go on without the key. With ``asked`` it has to have signed at least one.
    """
    signed, problem = 0, report.problem
    for note in notes:
        if verifier is None:
            break
        wrong = note.problem(verifier)
        signed += not wrong
        if wrong and (signed or "is wrong" in wrong) and not problem:
            problem = f"the checkpoint of {note.size} entries: {wrong}"
    if asked and not signed and not problem:
        problem = f"no checkpoint is signed by {verifier}"
    return LogCheck(report, problem, len(notes), signed, str(verifier) if verifier else "")


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
    signer = signer_of(service)
    files = {CHECKPOINT: str(note).encode()}
    if signer is not None:
        files[KEY] = f"{signer.verifier}\n".encode()
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
    report = walk.end()
    if report.ok and report.size > total:
        report = replace(
            report,
            problem=f"{log} has {report.size} entries, its checkpoint knows {total}: nothing "
            "vouches for the others",
        )
    return _checked(report, notes, Verifier.parse(vkey) if vkey else None, bool(vkey))


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
        lines = file.read(end - at)
    return part_of(first, lines.removesuffix(b"\n").split(b"\n"), wanted)


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

    def note_at(n: int) -> Note:
        head = store.log_entry(n)
        assert head is not None  # its leaf was just read
        return signed_note(origin, n, found[n], head.chain_hash, signer)

    proof = consistency_of(note_at(old), note_at(new), leaves)
    check_proof(proof, None)
    record(service, "audit proof made", {"from": old, "size": new})
    return proof
