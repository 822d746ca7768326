"""``reporting audit``: verify the log, prove an entry, export it, make a checkpoint.

Exit codes: 0 ok, 2 usage, 4 the log or a proof is not what it should be.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from .. import pipeline, settings
from ..errors import UsageError
from ..pipeline import auditing
from ..seal import Keys, Signer, canonical, check_proof, new_key, read_proof
from .shared import JsonOption, err, open_service, out, plain, print_json

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="The append-only log of everything that was sealed, issued and read: check it, prove it.",
)

KeyOption = Annotated[
    str,
    typer.Option("--vkey", help="Public key name+id+key, or the file with the published ones."),
]


@contextmanager
def _steps_shown(quiet: bool) -> Iterator[auditing.Steps]:
    """A progress bar on a terminal."""
    if quiet or not err.is_terminal:
        yield auditing.no_steps
        return
    columns = TextColumn("{task.completed:,} entries"), BarColumn(), TaskProgressColumn()
    with Progress(*columns, TimeRemainingColumn(), console=err, transient=True) as bar:
        task = bar.add_task("audit log")
        yield lambda done, total: bar.update(task, completed=done, total=total)


def vkey_of(given: str) -> str:
    """Public keys, from the option itself or from the file that it names."""
    if given and "+" not in given and Path(given).is_file():
        return Path(given).read_text("utf-8").strip()
    return given


@app.command(
    epilog="Examples: reporting audit verify\n\n"
    "reporting audit verify --witness /srv/elsewhere/audit-witness.jsonl --vkey key.vkey\n\n"
    "reporting audit verify --file export/log.jsonl --vkey key.vkey"
)
def verify(
    file: Annotated[
        Path | None,
        typer.Option("--file", help="An exported log; no database and no setting is used."),
    ] = None,
    witness: Annotated[
        list[Path] | None,
        typer.Option(
            "--witness",
            "--checkpoint",
            help="More checkpoints: a witness file, or one note. May be given several times.",
        ),
    ] = None,
    vkey: KeyOption = "",
    as_json: JsonOption = False,
) -> None:
    """Recompute every hash of the log and compare it with every checkpoint outside the database.

    An edited entry, a rewritten chain, a cut tail and a fork are found; a lie at entry, or before
    the first checkpoint, is not (docs/audit.md). In the database, that it was verified is logged.
    """
    key = vkey_of(vkey)
    with _steps_shown(as_json) as steps:
        if file is not None:
            found = auditing.verify_file(file, checkpoints=witness or (), vkey=key, steps=steps)
        else:
            service = open_service()
            found = auditing.verify_log(service, vkey=key, witnesses=witness or (), steps=steps)
            problems = [found.problem] if found.problem else []
            auditing.verified(service, "audit log", found.report.size, problems)
    report = found.report
    if as_json:
        print_json(
            ok=found.ok,
            size=report.size,
            root=report.root,
            chain_hash=report.head,
            checkpoints=report.claims,
            notes=found.notes,
            signed=found.signed,
            vkey=str(found.keys.newest) if found.keys else "",
            keys=str(found.keys).splitlines() if found.keys else [],
            problem=found.problem,
        )
    else:
        if found.ok:
            out.print(f"[green]✔[/] {report.size} entries, root {report.root}")
            out.print(f"  compared with {report.claims} checkpoints from outside the database")
            if not report.claims:
                out.print(
                    "  nothing outside the database vouches for it: a rewritten chain or a cut "
                    "tail can't be seen",
                    style="yellow",
                )
        else:
            out.print(f"[red]✘[/] {plain(found.problem)}")
        _say_signed(found)
    if not found.ok:
        raise SystemExit(4)


def _say_signed(found: auditing.LogCheck) -> None:
    if not found.notes:
        return
    if not found.keys:
        out.print(
            "  UNVERIFIED: no public key is known, so whoever can write the witness file can "
            "forge it (--vkey)",
            style="yellow",
        )
        return
    unsigned = found.notes - found.signed
    out.print(
        f"  {found.signed} checkpoints signed by {plain(str(found.keys.newest))}"
        + "".join(f" or {plain(str(key))} before it" for key in found.keys.verifiers[-2::-1])
        + (f", {unsigned} UNSIGNED or by another key" if unsigned else "")
    )


@app.command(
    epilog="Examples: reporting audit prove 17 -o entry17.json\n\n"
    "reporting audit prove --report daily/2025-12-05/r1 -o issued.json\n\n"
    "reporting audit prove --consistency 100 245 -o grown.json\n\n"
    "reporting audit prove --check issued.json --vkey key.vkey"
)
def prove(
    seq: Annotated[int | None, typer.Argument(help="Number of the entry, from 1.")] = None,
    report: Annotated[
        str, typer.Option("--report", help="The entry that says this report was issued.")
    ] = "",
    consistency: Annotated[
        tuple[int, int] | None,
        typer.Option("--consistency", metavar="OLD NEW", help="That the log only grew."),
    ] = None,
    check: Annotated[
        Path | None, typer.Option("--check", help="Check a proof: offline, with the key alone.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write it here.")] = None,
    vkey: KeyOption = "",
    as_json: JsonOption = False,
) -> None:
    """Prove with a few hashes and a checkpoint that an entry is in the log, or that it only grew.

    The making of a proof is logged itself.
    """
    asked = [x for x in (seq, report or None, consistency, check) if x is not None]
    if len(asked) != 1:
        raise UsageError("give one of: an entry's number, --report, --consistency, --check")
    if check is not None:
        return _check(check, vkey_of(vkey), as_json)
    service = open_service()
    if consistency is not None:
        proof = auditing.prove_growth(service, *consistency)
    else:
        number = seq if seq is not None else auditing.entry_of_report(service, report)
        proof = auditing.prove(service, number)
    body = canonical(proof)
    if output is None:
        sys.stdout.write(body.decode("utf-8") + "\n")
        return None
    _write(output, body, 0o644, again=True)
    if as_json:
        return print_json(ok=True, output=str(output), bytes=len(body))
    out.print(f"{output}: {len(body)} bytes; `reporting audit prove --check {output}` checks it")


def _check(path: Path, vkey: str, as_json: bool) -> None:
    try:
        body = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from None
    words = check_proof(read_proof(body), Keys.parse(vkey) if vkey else None)
    if as_json:
        return print_json(ok=True, proves=words, signature_checked=bool(vkey))
    out.print(f"[green]✔[/] {plain(words)}", style=None if vkey else "yellow")


@app.command(epilog="Example: reporting audit export export/2025-12-05")
def export(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    as_json: JsonOption = False,
) -> None:
    """Write the whole log, its checkpoint and the public key: what an auditor takes away.

    Line n of log.jsonl is entry n, byte for byte. The export is logged itself.
    """
    with _steps_shown(as_json) as steps:
        note = auditing.export_log(open_service(), folder, steps=steps)
    if as_json:
        return print_json(
            ok=True, folder=str(folder), size=note.size, root=note.root.hex(), signed=note.signed
        )
    out.print(f"{folder}: {note.size} entries; `reporting audit verify --file {folder}/log.jsonl`")
    if not note.signed:
        out.print(UNSIGNED, style="yellow")


UNSIGNED = "UNSIGNED: no checkpoint key is configured (REPORTING_CHECKPOINT_KEY_FILE)"


@app.command(epilog="Example: reporting audit checkpoint --witness /srv/elsewhere/witness.jsonl")
def checkpoint(
    witness: Annotated[
        Path | None,
        typer.Option("--witness", help="Append it to this file instead of the configured one."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print it; append it nowhere.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a checkpoint of the log as it is, append it to the witness file, and print it.

    All of the log is read for it. Refused where it no longer contains the last one in that file.
    """
    service = open_service()
    make = auditing.checkpoint if dry_run else auditing.checkpoint_now
    note = make(service, witness, whole=True)
    signer = auditing.signer_of(service)
    if as_json:
        return print_json(
            note=str(note),
            size=note.size,
            root=note.root.hex(),
            chain_hash=note.chain_hash.hex(),
            signed=note.signed,
            vkey=str(signer.verifier) if signer else "",
        )
    sys.stdout.write(str(note))
    sys.stdout.flush()
    err.print(f"vkey {plain(str(signer.verifier))}" if signer else UNSIGNED)


@app.command(epilog="Example: reporting audit keygen checkpoint.pem")
def keygen(
    file: Annotated[Path, typer.Argument(help="Where the private key goes, mode 0600.")],
    as_json: JsonOption = False,
) -> None:
    """Make a key that signs checkpoints, and print its public half for those who verify."""
    pem = new_key()
    vkey = str(Signer.load(settings.load().checkpoint_origin, pem, str(file)).verifier)
    _write(file, pem, 0o600)
    if as_json:
        return print_json(key_file=str(file), vkey=vkey)
    out.print(plain(vkey))
    err.print(
        f"{file} is the private key: set REPORTING_CHECKPOINT_KEY_FILE, publish the line above"
    )


@app.command(
    epilog="Examples: reporting audit rotate new.pem\n\n"
    "reporting audit rotate new.pem --lost old.vkey"
)
def rotate(
    file: Annotated[Path, typer.Argument(help="The new private key, from `audit keygen`.")],
    lost: Annotated[
        str,
        typer.Option(
            "--lost",
            metavar="VKEY",
            help="Public half of an old key that nobody has any more: the new one signs alone.",
        ),
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Hand the checkpoints over from the configured key to a new one: logged, signed by both.

    From then on no process signs with the old key. Prints the keys to publish.
    """
    note = auditing.rotate(open_service(), file, lost=vkey_of(lost))
    service = pipeline.Service(settings.load(checkpoint_key_file=file))
    keys = str(auditing.keys_of(service))
    if as_json:
        return print_json(note=str(note), size=note.size, keys=keys.splitlines())
    sys.stdout.write(keys)
    sys.stdout.flush()
    err.print(
        f"set REPORTING_CHECKPOINT_KEY_FILE to {plain(str(file))}, start every process anew, and "
        "publish the lines above; the old private key can go"
    )


@app.command(epilog="Example: reporting audit keys > published.vkey")
def keys(as_json: JsonOption = False) -> None:
    """Print every public key of the log so far, each old one with the last size it may sign.

    This is what those who verify are given: `--vkey FILE`, `reporting verify --key FILE`.
    """
    found = auditing.keys_of(open_service())
    if found is None:
        raise UsageError(UNSIGNED)
    if as_json:
        return print_json(keys=str(found).splitlines())
    sys.stdout.write(str(found))


def _write(path: Path, body: bytes, mode: int, *, again: bool = False) -> None:
    """Write a file with its mode from the start; refuses to replace one unless ``again``."""
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if again else os.O_EXCL)
    try:
        with os.fdopen(os.open(path, flags, mode), "wb") as file:
            file.write(body)
    except FileExistsError:
        raise UsageError(f"{path} exists; a key is never replaced: name a new file") from None
    except OSError as error:
        raise UsageError(f"{path} can't be written: {error.strerror}") from None
