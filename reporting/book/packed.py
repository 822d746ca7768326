"""Large tables in few bytes: whole columns kept narrow, made into a frame a part at a time.

Ten million fills as a table of 64-bit integers and texts are a gigabyte before anything is worked
out. Here a number has the width that its column needs, a word a code, and an identifier such as
``F0000000042`` only its digits; :meth:`Packed.taken` takes some of the rows as they are, and a
table has numbers of 64 bits again. Nothing is rounded: what does not fit a narrow form is kept
whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ..model import Coverage, Finding, Frame
from .fifo import Ints, joined, rescale

#: So many decimal digits fit 64 bits.
DIGITS = 18
#: Rows that are looked up at once, and how much larger than the rows a table of them may be.
STRETCH, DENSE = 1 << 20, 8


def narrow(values: Ints) -> Ints:
    """The same integers in as few bytes each as hold them all; Python's stay what they are."""
    if values.dtype == object or not len(values):
        return values
    low, high = int(values.min()), int(values.max())
    for kind in (np.int8, np.int16, np.int32):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return values.astype(kind)
    return values.astype(np.int64, copy=False)


def _at(values: Any, rows: Ints) -> Any:
    """``values[rows]`` in half the time, for rows that are known to be there."""
    return values.take(rows, mode="clip")


class Numbers:
    """Integers in units of ten to the minus ``scale``; a null is 0 and not ``known``.

    Parts come with scales of their own; the column has the finest of them.
    """

    def __init__(self) -> None:
        self._parts: list[tuple[Ints, int]] = []
        self._known: list[npt.NDArray[np.bool_]] = []
        self.scale = 0

    def add(self, values: Ints, scale: int, known: npt.NDArray[np.bool_]) -> None:
        """Append integers in units of ten to the minus ``scale``."""
        self._parts.append((narrow(values), scale))
        self._known.append(known)
        self.scale = max(self.scale, scale)

    def packed(self) -> None:
        """Join what was added, in place; at most two copies of the column at a time."""
        whole = [
            values if scale == self.scale else narrow(rescale(wide(values), self.scale - scale))
            for values, scale in self._parts
        ]
        self._parts.clear()
        self._parts.append((_joined(whole), self.scale))
        self._known = [np.concatenate(self._known) if self._known else np.zeros(0, bool)]

    def at(self, rows: Any) -> Ints:
        """The integers of ``rows``, 64 bits wide or Python's."""
        return wide(self._parts[0][0][rows])

    def known_at(self, rows: Any) -> npt.NDArray[np.bool_]:
        """Whether those rows had a number at all."""
        known: npt.NDArray[np.bool_] = self._known[0][rows]
        return known

    def taken(self, rows: Ints) -> Numbers:
        """A column of the rows with these numbers, as narrow as this one."""
        column = Numbers()
        column._parts, column.scale = [(_at(self._parts[0][0], rows), self.scale)], self.scale
        column._known = [_at(self._known[0], rows)]
        return column


class Whole:
    """Whole numbers: sides, and microseconds since 1970."""

    def __init__(self) -> None:
        self._parts: list[Ints] = []

    def add(self, values: Ints) -> None:
        """Append."""
        self._parts.append(narrow(values))

    def packed(self) -> None:
        """Join what was added, in place."""
        self._parts = [_joined(self._parts)]

    def at(self, rows: Any) -> Ints:
        """The integers of ``rows``, 64 bits wide."""
        return wide(self._parts[0][rows])

    def taken(self, rows: Ints) -> Whole:
        """A column of the rows with these numbers, as narrow as this one."""
        column = Whole()
        column._parts = [_at(self._parts[0], rows)]
        return column


class Words:
    """Texts of which there are few: a code a row, a null -1."""

    def __init__(self) -> None:
        self._codes: list[Ints] = []
        self.words: dict[str, int] = {}

    def add(self, texts: pa.DictionaryArray) -> None:
        """Append texts as Arrow encoded them; every batch may have codes of its own."""
        code = [
            self.words.setdefault(word, len(self.words)) for word in texts.dictionary.to_pylist()
        ]
        # The last entry stands for a null, whose index is made -1.
        translate = np.array([*code, -1], dtype=np.int64)
        own = texts.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        self._codes.append(narrow(translate)[own])

    def packed(self) -> None:
        """Join what was added, in place."""
        self._codes = [_joined(self._codes)]

    def codes(self) -> Ints:
        """A code a row, of :attr:`words`."""
        return self._codes[0]

    def at(self, rows: Any) -> pd.Categorical:
        """The texts of ``rows``, categorical."""
        categories = pd.Index(list(self.words), dtype="str")
        return pd.Categorical.from_codes(self._codes[0][rows], categories=categories)

    def taken(self, rows: Ints) -> Words:
        """A column of the rows with these numbers; it knows every word that this one knows."""
        column = Words()
        column._codes, column.words = [_at(self._codes[0], rows)], self.words
        return column

    def used(self) -> list[str]:
        """The words that some row has."""
        words = list(self.words)
        return [words[code] for code in np.unique(self._codes[0]).tolist() if code >= 0]


@dataclass(frozen=True)
class Shape:
    """What identifiers of one kind have in common: a prefix, then so many digits."""

    prefix: bytes
    digits: int

    @classmethod
    def of(cls, text: str) -> Shape | None:
        """The shape of an identifier that ends in digits."""
        found = re.fullmatch(rb"(?s)(.*?)([0-9]{1,%d})" % DIGITS, text.encode())
        return cls(found[1], len(found[2])) if found else None

    def numbers(self, texts: pa.StringArray) -> Ints | None:
        """The digits of ``texts`` as integers, None if one of them has another shape."""
        width = len(self.prefix) + self.digits
        if texts.null_count:
            return None
        offsets = np.frombuffer(texts.buffers()[1], np.int32)
        offsets = offsets[texts.offset : texts.offset + len(texts) + 1]
        if (np.diff(offsets) != width).any():
            return None
        data = np.frombuffer(texts.buffers()[2], np.uint8)[offsets[0] : offsets[-1]]
        columns = data.reshape(-1, width).T
        for have, wanted in zip(columns, self.prefix, strict=False):
            if (have != wanted).any():
                return None
        value = np.zeros(len(texts), np.int64)
        for have in columns[len(self.prefix) :]:
            digit = have - np.uint8(ord("0"))  # what is below "0" wraps to above 9
            if (digit > 9).any():
                return None
            value *= 10
            value += digit
        return value

    def texts(self, numbers: Ints) -> pa.LargeStringArray:
        """The identifiers whose digits are ``numbers``."""
        width = len(self.prefix) + self.digits
        data = np.empty((len(numbers), width), np.uint8)
        data[:, : len(self.prefix)] = np.frombuffer(self.prefix, np.uint8)
        rest = numbers.astype(np.int64)
        for column in range(width - 1, len(self.prefix) - 1, -1):
            rest, digit = np.divmod(rest, 10) if column > len(self.prefix) else (rest, rest)
            data[:, column] = digit + ord("0")
        offsets = np.arange(len(numbers) + 1, dtype=np.int64) * width
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
        return pa.LargeStringArray.from_buffers(len(numbers), *buffers[1:])


class Names:
    """Identifiers, most of them used once: digits where all have one shape, else texts."""

    def __init__(self) -> None:
        self.shape: Shape | None = None
        self._numbers: list[Ints] = []
        self._texts: list[pa.Array] | None = None

    @classmethod
    def of(cls, texts: pa.StringArray) -> Names:
        """These identifiers."""
        made = cls()
        made.add(texts)
        made.packed()
        return made

    def add(self, texts: pa.StringArray) -> None:
        """Append; the first text says which shape is tried."""
        if not len(texts):
            return
        if self._texts is None:
            if self.shape is None and texts[0].is_valid:
                self.shape = Shape.of(texts[0].as_py())
            numbers = self.shape.numbers(texts) if self.shape else None
            if numbers is not None:
                self._numbers.append(narrow(numbers))
                return
            self._texts = [self.shape.texts(part) for part in self._numbers] if self.shape else []
            self._numbers.clear()
        self._texts.append(texts.cast(pa.large_string()))

    def packed(self) -> None:
        """Join what was added, in place."""
        if self._texts is None:
            self._numbers = [_joined(self._numbers)]
        else:
            self._texts = [_one(self._texts, pa.large_string())]

    def __len__(self) -> int:
        parts: Sequence[Any] = self._numbers if self._texts is None else self._texts
        return sum(map(len, parts))

    def texts(self, rows: Any = slice(None)) -> pa.LargeStringArray:
        """The identifiers of ``rows`` themselves."""
        if self._texts is None:
            numbers = self._numbers[0][rows]
            return (self.shape or Shape(b"", 1)).texts(numbers)
        whole = self._texts[0]
        return whole[rows] if isinstance(rows, slice) else whole.take(pa.array(rows))

    def at(self, rows: Any) -> pd.Series:
        """The identifiers of ``rows`` as a column of texts."""
        return self.texts(rows).to_pandas()

    def taken(self, rows: Ints) -> Names:
        """A column of the rows with these numbers, as narrow as this one."""
        column = Names()
        column.shape = self.shape
        if self._texts is None:
            column._numbers = [_at(self._numbers[0], rows)]
        else:
            column._texts = [self.texts(rows)]
        return column

    def coded_at(self, rows: Any) -> pd.Categorical:
        """The same, categorical; in the order in which they first occur."""
        if self._texts is None:
            numbers = self._numbers[0][rows]
            codes, distinct = _factorized(numbers)
            texts = (self.shape or Shape(b"", 1)).texts(distinct)
        else:
            encoded = self.texts(rows).dictionary_encode()
            codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
            texts = encoded.dictionary
        return pd.Categorical.from_codes(codes, categories=pd.Index(texts.to_pandas(), dtype="str"))

    def distinct(self, rows: Any = slice(None)) -> Names:
        """Every identifier of ``rows`` once; nulls are none."""
        found = Names()
        found.shape = self.shape
        if self._texts is None:
            found._numbers = [_distinct(self._numbers[0][rows])]
        else:
            found._texts = [pc.unique(self.texts(rows).drop_null())]
        return found

    def lacking(self, known: Names) -> list[str]:
        """Which of these identifiers are not among ``known``."""
        if self._texts is None and known._texts is None and self.shape == known.shape:
            left = self._numbers[0][~np.isin(self._numbers[0], known._numbers[0])]
            return list((self.shape or Shape(b"", 1)).texts(left).to_pylist())
        texts = self.texts()
        return list(texts.filter(pc.invert(pc.is_in(texts, value_set=known.texts()))).to_pylist())

    def together(self, group: Ints, others: Names, group_of_other: Ints) -> bool | None:
        """Whether each of ``others`` that is one of these identifiers is in the same group.

        None where a look at each does not tell: texts, numbers far apart, or an identifier that has
        rows in several groups.
        """
        if self._texts is not None or others._texts is not None or self.shape != others.shape:
            return None
        own, sought = self._numbers[0], others._numbers[0]
        low, high = (int(own.min()), int(own.max())) if len(own) else (0, -1)
        if high - low >= DENSE * len(own):
            return None
        known = np.full(high - low + 1, -1, group.dtype)
        places = np.subtract(
            own, low, dtype=np.int64
        )  # the numbers themselves are as narrow as can be
        known[places] = group
        if (known[places] != group).any():
            return None
        for start in range(0, len(sought), STRETCH):
            rows = slice(start, start + STRETCH)
            inside = (sought[rows] >= low) & (sought[rows] <= high)
            found = known[np.subtract(sought[rows][inside], low, dtype=np.int64)]
            if ((found >= 0) & (found != group_of_other[rows][inside])).any():
                return False
        return True

    def twice(self) -> list[str]:
        """Identifiers that more than one row has, sorted."""
        if self._texts is None:
            # Sorted bytes of a column, not a table of hashes: less than a tenth of its memory.
            ordered = np.sort(self._numbers[0])
            again = _distinct(ordered[1:][ordered[1:] == ordered[:-1]])
            return list((self.shape or Shape(b"", 1)).texts(again).to_pylist())
        whole = self._texts[0]
        if pc.count_distinct(whole, mode="all").as_py() == len(whole):
            return []
        counts = whole.value_counts()
        found = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
        return sorted(found.drop_null().to_pylist())


def _one(parts: Sequence[pa.Array], kind: pa.DataType) -> pa.Array:
    return parts[0] if len(parts) == 1 else pa.concat_arrays([pa.array([], kind), *parts])


def _joined(parts: Sequence[Ints]) -> Ints:
    """The parts in one array, as wide as the widest; one part alone is not copied."""
    return parts[0] if len(parts) == 1 else joined(parts)


def _distinct(numbers: Ints) -> Ints:
    """Every number once, ascending. Numbers that stand in runs leave less to sort."""
    if not len(numbers):
        return numbers
    ordered = np.sort(numbers[np.r_[True, numbers[1:] != numbers[:-1]]])
    return ordered[np.r_[True, ordered[1:] != ordered[:-1]]]


def _factorized(numbers: Ints) -> tuple[Ints, Ints]:
    """Codes (n,) and what they stand for; runs of one number are looked up once."""
    if not len(numbers):
        return np.zeros(0, np.int64), numbers
    starts = np.flatnonzero(np.r_[True, numbers[1:] != numbers[:-1]])
    codes, distinct = pd.factorize(numbers[starts])
    return np.repeat(codes, np.diff(np.r_[starts, len(numbers)])), np.asarray(distinct)


class Texts:
    """Texts that most rows have none of: those that there are, and in which rows they stand."""

    def __init__(self) -> None:
        self._texts: list[pa.Array] = []
        self._rows: list[Ints] = []
        self._count = 0

    def add(self, texts: pa.StringArray) -> None:
        """Append."""
        valid = np.flatnonzero(texts.is_valid().to_numpy(zero_copy_only=False))
        self._rows.append((valid + self._count).astype(np.int32))
        self._texts.append(texts.drop_null().cast(pa.large_string()))
        self._count += len(texts)

    def packed(self) -> None:
        """Join what was added, in place."""
        self._texts = [_one(self._texts, pa.large_string())]
        self._rows = [_joined(self._rows)]

    def present(self) -> pa.LargeStringArray:
        """Every text that there is."""
        return self._texts[0]

    def texts(self, rows: Any) -> pa.LargeStringArray:
        """The texts of ``rows``, or nulls."""
        wanted = np.arange(self._count)[rows]
        held = self._rows[0]
        if not len(held):
            return pa.nulls(len(wanted), pa.large_string())
        place = np.minimum(np.searchsorted(held, wanted), len(held) - 1)
        return self._texts[0].take(pa.array(place, mask=held[place] != wanted))

    def at(self, rows: Any) -> pd.Series:
        """The texts of ``rows`` as a column."""
        return self.texts(rows).to_pandas().astype("str")

    def taken(self, rows: Ints) -> Texts:
        """A column of the rows with these numbers."""
        column = Texts()
        texts = self.texts(rows)
        column._rows = [np.flatnonzero(texts.is_valid().to_numpy(zero_copy_only=False))]
        column._texts, column._count = [texts.drop_null()], len(texts)
        return column


Column = Numbers | Whole | Words | Names | Texts


def wide(values: Ints) -> Ints:
    """64-bit integers for arithmetic; Python's stay what they are."""
    return values if values.dtype == object else values.astype(np.int64, copy=False)


class Packed(Frame):
    """A frame of many rows, kept narrow; its table is made anew whenever it is asked for.

    Ask for the table of what was :meth:`taken` for a part where there may be millions of rows.
    """

    columns: Mapping[str, Column]
    coded: frozenset[str]

    def __init__(
        self,
        columns: Mapping[str, Column],
        coverage: Coverage,
        findings: tuple[Finding, ...] = (),
        coded: Sequence[str] = (),
    ) -> None:
        for name, value in (
            ("columns", columns),
            ("coded", frozenset(coded)),
            ("coverage", coverage),
            ("findings", findings),
        ):
            object.__setattr__(self, name, value)

    @property
    def table(self) -> pd.DataFrame:
        """Every row."""
        return self._table(slice(None))

    def taken(self, rows: Ints) -> Packed:
        """The rows with these numbers, as narrow as they are here; the coverage is the whole's."""
        columns = {name: column.taken(rows) for name, column in self.columns.items()}
        return Packed(columns, self.coverage, self.findings, tuple(self.coded))

    def _table(self, rows: Any) -> pd.DataFrame:
        made: dict[str, Any] = {}
        for name, column in self.columns.items():
            if name in self.coded and isinstance(column, Names):
                made[name] = column.coded_at(rows)
            else:
                made[name] = column.at(rows)
        for name, column in self.columns.items():
            if isinstance(column, Numbers):
                made[f"{name}_known"] = column.known_at(rows)
        return pd.DataFrame(made, copy=False)
