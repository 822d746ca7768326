"""One thing asked of many selectors, by as few queries as their shapes allow.

Selectors of one metric that differ in one label's value become one selector with all values; its
answer is told apart by that label. What is left is joined by ``or``, each part under a label of
its own. Where a query fails, its halves are asked, down to the selector that is to blame.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from .client import Client, QueryFailed, Series

#: Label that tells the parts of one joined query apart.
PART_LABEL = "reporting_part"
#: Selectors in one query: keeps its text and the server's work per query bounded.
GROUP = 100

PLAIN = re.compile(r"\s*([A-Za-z_:][\w:]*)\s*(?:\{([^{}]*)\})?\s*")
MATCHER = re.compile(r'\s*([A-Za-z_]\w*)\s*=\s*"([^"\\]+)"\s*(?:,|$)')

#: The labels of a series but its name, in order: what tells it apart within one selector.
Key = tuple[tuple[str, str], ...]
#: The series of each item by its id, then by its labels.
Answers = dict[str, dict[Key, Series]]


class Item(NamedTuple):
    """A selector under the id by which its answer is wanted."""

    id: str
    selector: str


@dataclass(frozen=True)
class Part:
    """A selector for one item, or for several that ``label`` tells apart."""

    text: str
    label: str
    members: Mapping[str, Sequence[Item]]

    def items(self) -> list[Item]:
        """All items that it stands for."""
        return [item for items in self.members.values() for item in items]

    def of(self, labels: Mapping[str, str]) -> Sequence[Item]:
        """The items that a series of the answer belongs to."""
        return self.members.get(labels.get(self.label, ""), ())


def merge(items: Iterable[Item]) -> list[Part]:
    """Few selectors that together select what ``items`` do."""
    parts: list[Part] = []
    shapes: dict[tuple[str, tuple[str, ...]], list[tuple[dict[str, str], Item]]] = {}
    for item in items:
        parsed = _parse(item.selector)
        if parsed is None:
            parts.append(Part(item.selector, "", {"": (item,)}))
        else:
            name, matchers = parsed
            shapes.setdefault((name, tuple(sorted(matchers))), []).append((matchers, item))
    for (name, labels), members in shapes.items():
        splits = [_split(members, label) for label in labels] or [{(): members}]
        at = min(range(len(splits)), key=lambda i: len(splits[i]))
        for same in splits[at].values():
            parts.append(_part(name, labels[at] if labels else "", same))
    return parts


def _split(
    members: Sequence[tuple[dict[str, str], Item]], label: str
) -> dict[tuple[tuple[str, str], ...], list[tuple[dict[str, str], Item]]]:
    """The members that agree in all labels but ``label``."""
    groups: dict[tuple[tuple[str, str], ...], list[tuple[dict[str, str], Item]]] = {}
    for matchers, item in members:
        rest = tuple(sorted((k, v) for k, v in matchers.items() if k != label))
        groups.setdefault(rest, []).append((matchers, item))
    return groups


def _part(name: str, label: str, members: Sequence[tuple[dict[str, str], Item]]) -> Part:
    by_value: dict[str, list[Item]] = {}
    for matchers, item in members:
        by_value.setdefault(matchers.get(label, ""), []).append(item)
    if len(by_value) == 1:
        first = members[0][1]
        return Part(first.selector, "", {"": tuple(item for _, item in members)})
    rest = ",".join(f'{k}="{v}"' for k, v in members[0][0].items() if k != label)
    return Part(with_values(f"{name}{{{rest}}}", label, list(by_value)), label, by_value)


def with_values(selector: str, label: str, values: Sequence[str]) -> str:
    """``selector`` with one more matcher: ``label`` has one of ``values``."""
    if len(values) == 1:
        matcher = f"{label}={json.dumps(values[0], ensure_ascii=False)}"
    else:  # values are literal text within a regular expression within a quoted string
        pattern = "|".join(re.escape(value) for value in values)
        matcher = f"{label}=~{json.dumps(pattern, ensure_ascii=False)}"
    name, _, inner = selector.strip().removesuffix("}").partition("{")
    inner = inner.strip().removesuffix(",")
    return f"{name}{{{inner}{',' if inner else ''}{matcher}}}"


def _parse(selector: str) -> tuple[str, dict[str, str]] | None:
    """Name and matchers of a selector whose matchers are all ``label="value"``, else None."""
    found = PLAIN.fullmatch(selector)
    if not found:
        return None
    matchers: dict[str, str] = {}
    text, at = found[2] or "", 0
    while text[at:].strip():
        matcher = MATCHER.match(text, at)
        if not matcher or matcher[1] in matchers:
            return None
        matchers[matcher[1]] = matcher[2]
        at = matcher.end()
    return found[1], matchers


@dataclass
class Grouped:
    """Asks a server about many items; ``failed`` has the ids of those that no query answers.

    ``texts`` collects what was sent.
    """

    client: Client
    texts: list[str]
    failed: dict[str, QueryFailed] = field(default_factory=dict)

    def range(
        self, form: str, items: Iterable[Item], start_ms: int, end_ms: int, step_ms: int
    ) -> Answers:
        """``form`` of every selector at steps; ``{}`` in it stands for the selector."""
        return self._ask(form, items, lambda t: self.client.range(t, start_ms, end_ms, step_ms))

    def instant(self, form: str, items: Iterable[Item], at_ms: int) -> Answers:
        """``form`` of every selector at one moment; its answers are vectors."""
        return self._ask(form, items, lambda t: self.client.query(t, at_ms))

    def raw(self, items: Iterable[Item], span_ms: int, at_ms: int) -> Answers:
        """All samples of every selector in the ``span_ms`` up to ``at_ms``."""
        form = f"{{}}[{span_ms}ms]"  # ranges can't be joined
        return self._ask(form, items, lambda t: self.client.query(t, at_ms), join=False)

    def _ask(
        self,
        form: str,
        items: Iterable[Item],
        send: Callable[[str], list[Series]],
        *,
        join: bool = True,
    ) -> Answers:
        answers: Answers = {}

        def ask(group: Sequence[Item]) -> None:
            parts = merge(group)
            by_number = {str(number): part for number, part in enumerate(parts)}
            text = _joined(form, parts)
            for series in send(text):
                number = series.labels.get(PART_LABEL, "0")
                if number not in by_number:
                    raise QueryFailed(f"an answer to another question: {PART_LABEL} {number!r}")
                part = by_number[number]
                for item in part.of(series.labels):
                    answers.setdefault(item.id, {})[key_of(series.labels)] = series
            self.texts.append(text)

        for group in _groups(items, join):
            self._halves(ask, group)
        return answers

    def _halves(self, ask: Callable[[Sequence[Item]], None], items: Sequence[Item]) -> None:
        try:
            ask(items)
        except QueryFailed as error:
            if len({item.selector for item in items}) == 1:
                self.failed.update({item.id: error for item in items})
                return
            middle = len(items) // 2
            self._halves(ask, items[:middle])
            self._halves(ask, items[middle:])


def _groups(items: Iterable[Item], join: bool) -> Iterable[list[Item]]:
    """The items of each query: a merged selector is asked alone, which spares the labelling."""
    rest: list[Item] = []
    for part in merge(items):
        members = part.items()
        if part.label or not join:
            yield from (members[i : i + GROUP] for i in range(0, len(members), GROUP))
        else:
            rest += members
    yield from (rest[i : i + GROUP] for i in range(0, len(rest), GROUP))


def _joined(form: str, parts: Sequence[Part]) -> str:
    texts = [form.format(part.text) for part in parts]
    if len(texts) == 1:
        return texts[0]
    labelled = [
        f'label_replace({text}, "{PART_LABEL}", "{number}", "", "")'
        for number, text in enumerate(texts)
    ]
    return _tree(labelled)


def _tree(texts: Sequence[str]) -> str:
    """``(a or b) or (c or d)``: in a chain the server would go over the first parts every time."""
    if len(texts) == 1:
        return texts[0]
    middle = len(texts) // 2
    return f"({_tree(texts[:middle])}\nor {_tree(texts[middle:])})"


def key_of(labels: Mapping[str, str]) -> Key:
    """What tells a series apart from the others of its selector."""
    own = (item for item in labels.items() if item[0] not in ("__name__", PART_LABEL))
    return tuple(sorted(own))
