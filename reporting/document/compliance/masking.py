"""A report for recipients who must not read names: pseudonyms in their place, everywhere.

The names are found where the report's own tables hold them, under the columns that the register of
personal data lists, and are replaced in every text of the Document: cells, labels, ids, alternative
texts, reasons. A pseudonym is a keyed hash (HMAC-SHA-256, RFC 2104): the same person has the same
one in every report made with that key, nobody without the key can try names, and once the key is
destroyed nobody can. Samples of findings are withheld: they may hold names that no table has.

A name that is an ordinary word ("risk") is replaced wherever it stands as a word, in our own
sentences too: too much is masked rather than too little.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, get_origin

from ...measures.pnl import NOBODY
from ...model import Finding, Text, Value
from ...page import Attention, Citation, Document, Section, Table
from ...policy.compliance import Personal, Recipient
from ..strategies.records import LONGEST_KEY, short, slug

WITHHELD = ("withheld",)
#: What the ledger has no part in: the program's own words, moments and digests.
OURS: Mapping[type[Value], frozenset[str]] = {
    Document: frozenset(
        (
            "id",
            "title",
            "issuer",
            "period",
            "supersedes",
            "version",
            "sources",
            "policy_digest",
            "checkpoint",
            "locale",
        )
    ),
    Citation: frozenset(("digest",)),
}
#: Where a section is named: what stands before the first dot is its template.
SECTION_IDS = ((Section, "id"), (Attention, "section"))
#: Of a table that splits several ways, the columns that say by what and the name itself.
SPLITS = (("cut", "key"), ("kind", "name"))
#: What the title of a masked copy has between its own words and the class of the recipients.
MASKED = ", names masked for "
#: Enough of the hash that two names of one firm never share a pseudonym.
DIGITS = 12


def masked(
    document: Document,
    recipient: Recipient,
    register: Sequence[Personal],
    key: bytes,
    known: Mapping[str, Collection[str]] | None = None,
) -> Document:
    """``document`` as ``recipient`` may read it: itself where the register hides nothing of it.

    ``known`` are more names by id of the register's entry, for instance all accounts of the firm:
    a reason may tell of one that had no trade. A copy with names masked is never signed, and says
    so. Raises :class:`ValueError` for an empty key.
    """
    hidden = [entry for entry in register if entry.shown_to(recipient) == "pseudonym"]
    if not hidden:
        return document
    if not key:
        raise ValueError("pseudonyms need a key; without one anybody could find the names")
    pseudonyms: dict[str, str] = {}
    for entry in hidden:
        names = [*(known or {}).get(entry.id, ()), *_names(document, entry)]
        for name in names:
            if name.strip() in ("", NOBODY):
                continue
            for spelling in _spellings(name):
                pseudonyms.setdefault(spelling, pseudonym(entry.id, name, key))
    replaced = _replaced(document, _replacer(pseudonyms))
    assert isinstance(replaced, Document)
    return Document.model_validate_json(
        replaced.model_copy(
            update={
                "title": f"{document.title}{MASKED}{recipient} recipients",
                "signed": False,
                "unsigned_because": "names are masked, and only the report itself is signed",
            }
        ).model_dump_json()
    )


def is_masked(document: Document) -> bool:
    """Whether ``document`` is a copy in which names are masked."""
    return MASKED in document.title


def pseudonym(kind: str, name: str, key: bytes) -> str:
    """The pseudonym of ``name`` under ``key``; made of letters, digits and a hyphen alone."""
    found = hmac.new(key, f"{kind}\0{name}".encode("utf-8", "surrogatepass"), hashlib.sha256)
    return f"{kind}-{found.hexdigest()[:DIGITS]}"


def _names(document: Document, entry: Personal) -> Iterator[str]:
    """The values of the entry that the document's tables hold, full names first.

    They stand in columns of their own, in rows that say what they are split by, and at the heads of
    a table that has them side by side, where a long name is cut.
    """
    heads: list[str] = []
    for table in (t for section in document.sections for t in section.tables):
        keys = [column.key for column in table.columns]
        for index, key in enumerate(keys):
            if key in entry.cells or f"{table.id}.{key}" in entry.cells:
                yield from _texts(table, index)
        for by, of in SPLITS:
            if by in keys and of in keys:
                split = zip(
                    _texts(table, keys.index(by)), _texts(table, keys.index(of)), strict=True
                )
                yield from (name for what, name in split if what.lower() in entry.cells)
        if table.id == f"{entry.id}s_compared":
            heads += [name for c in table.columns[1:] for name in (c.label, c.key)]
    yield from heads


def _texts(table: Table, index: int) -> list[str]:
    """The words of one column, "" where a cell has none."""
    cells = (row[index] for row in table.rows)
    return [cell.text if isinstance(cell, Text) else "" for cell in cells]


def _spellings(name: str) -> Iterable[str]:
    """How a report writes a name: whole, cut for a heading or a legend, and as part of an id."""
    return (name, name.strip(), short(name), short(name, LONGEST_KEY), slug(name))


def _replacer(pseudonyms: Mapping[str, str]) -> Callable[[str], str]:
    """All names in one pass, longest first; one that ends in a letter only at a word's end."""
    if not pseudonyms:
        return lambda words: words
    alternatives = "|".join(
        f"{_edge(name[0], before=True)}{re.escape(name)}{_edge(name[-1], before=False)}"
        for name in sorted(pseudonyms, key=lambda name: (-len(name), name))
    )
    pattern = re.compile(alternatives)
    return lambda words: pattern.sub(lambda found: pseudonyms[found[0]], words)


def _edge(sign: str, *, before: bool) -> str:
    if not sign.isalnum():
        return ""
    return r"(?<![^\W_])" if before else r"(?![^\W_])"


def _replaced(value: Any, replace: Callable[[str], str]) -> Any:
    """``value`` with every text in it replaced, but for literals, currencies and what is ours."""
    if isinstance(value, tuple):
        return tuple(_replaced(each, replace) for each in value)
    if type(value) is str:
        return replace(value)
    if not isinstance(value, Value):
        return value
    kind = type(value)
    changed: dict[str, Any] = {}
    for name, field in kind.model_fields.items():
        if name in OURS.get(kind, ()) or name == "currency":
            continue
        if get_origin(field.annotation) is Literal:
            continue
        held = getattr(value, name)
        if (kind, name) in SECTION_IDS:
            stem, dot, rest = held.partition(".")
            changed[name] = f"{stem}{dot}{replace(rest)}"
        elif kind is Finding and name == "samples":
            changed[name] = WITHHELD if held else ()
        else:
            changed[name] = _replaced(held, replace)
    return value.model_copy(update=changed)
