"""Examples as columns: a sequence of Example without an object for each row, for a million rows.

Reads and writes JSON lines, with the same bytes as `records.to_lines`. A Table is a value: no function changes it, and
`take` shares the texts of the original table.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import overload

from rungwise.core.records import Example

LINES_AT_ONCE = 10_000
"""Lines to write at once: their text stays small."""


@dataclass(frozen=True, eq=False)
class Table(Sequence[Example]):
    """Examples as columns of equal length; Example documents each column."""

    id: list[str]
    fields: Mapping[str, list[str]]
    """Slot name -> its texts, in the order of the rows."""
    answer: list[str]
    source: list[str]
    line: list[int]
    group: list[str]
    role: list[str | None]
    parents: list[tuple[str, ...]]
    facts: list[tuple[str, ...]]
    references: list[tuple[str, ...]]

    @classmethod
    def of(cls, examples: Iterable[Example]) -> "Table":
        """Returns examples as columns; a Table is returned unchanged. All examples have the fields of the first."""
        if isinstance(examples, Table):
            return examples
        table = cls([], {}, [], [], [], [], [], [], [], [])
        fields: dict[str, list[str]] = {}
        for example in examples:
            if not table.id:
                fields = {name: [] for name in example.fields}
            for name, texts in fields.items():
                texts.append(example.fields[name])
            table.id.append(example.id)
            table.answer.append(example.answer)
            table.source.append(example.source)
            table.line.append(example.line)
            table.group.append(example.group)
            table.role.append(example.role)
            table.parents.append(example.parents)
            table.facts.append(example.facts)
            table.references.append(example.references)
        return cls(**{**table._columns(), "fields": fields})  # type: ignore[arg-type]  # each column under its name

    def _columns(self) -> dict[str, list[object]]:
        names = ("id", "answer", "source", "line", "group", "role", "parents", "facts", "references")
        return {name: getattr(self, name) for name in names}

    def __len__(self) -> int:
        return len(self.id)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        return all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # lists inside

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> "Table": ...
    def __getitem__(self, index: int | slice) -> "Example | Table":
        if isinstance(index, slice):
            return self.take(range(*index.indices(len(self))))
        return Example(
            id=self.id[index],
            fields={name: texts[index] for name, texts in self.fields.items()},
            answer=self.answer[index],
            source=self.source[index],
            line=self.line[index],
            group=self.group[index],
            role=self.role[index],
            parents=self.parents[index],
            facts=self.facts[index],
            references=self.references[index],
        )

    def __iter__(self) -> Iterator[Example]:
        return (self[i] for i in range(len(self)))

    def take(self, rows: Iterable[int]) -> "Table":
        """Returns the rows with these indices, in the order given."""
        chosen = list(rows)

        def column(values: list[object]) -> list[object]:
            return [values[i] for i in chosen]

        columns = {name: column(values) for name, values in self._columns().items()}
        fields = {name: [texts[i] for i in chosen] for name, texts in self.fields.items()}
        return Table(**{**columns, "fields": fields})  # type: ignore[arg-type]  # each column under its name

    def joined(self) -> list[str]:
        """Returns each row's fields as one text: one line for each field, sorted by name."""
        columns = [self.fields[name] for name in sorted(self.fields)] or [[]]
        return list(columns[0]) if len(columns) == 1 else ["\n".join(texts) for texts in zip(*columns, strict=True)]

    def write(self, path: Path) -> None:
        """Writes the rows as JSON lines; creates the parent folder."""
        import orjson

        path.parent.mkdir(parents=True, exist_ok=True)
        names = sorted(self.fields)
        columns = zip(
            self.answer, self.facts, zip(*(self.fields[n] for n in names), strict=True), self.group, self.id,
            self.line, self.parents, self.references, self.role, self.source, strict=True,
        )  # fmt: skip
        with path.open("wb") as stream:
            while block := list(islice(columns, LINES_AT_ONCE)):
                stream.write(
                    b"".join(
                        orjson.dumps(
                            {
                                "answer": answer,
                                "facts": facts,
                                "fields": dict(zip(names, texts, strict=True)),
                                "group": group,
                                "id": row_id,
                                "line": line,
                                "parents": parents,
                                **({"references": references} if references else {}),
                                "role": role,
                                "source": source,
                            },
                            option=orjson.OPT_APPEND_NEWLINE,
                        )
                        for answer, facts, texts, group, row_id, line, parents, references, role, source in block
                    )
                )

    @classmethod
    def read(cls, path: Path) -> "Table":
        """Returns the rows of a file that `write` wrote."""
        import orjson

        table = cls([], {}, [], [], [], [], [], [], [], [])
        fields: dict[str, list[str]] = {}
        known: dict[str, str] = {}  # labels and sources repeat: rows share one text
        with path.open("rb") as stream:
            for text in stream:
                row = orjson.loads(text)
                if not table.id:
                    fields = {name: [] for name in row["fields"]}
                for name, texts in fields.items():
                    texts.append(row["fields"][name])
                table.id.append(row["id"])
                table.answer.append(_shared(known, row["answer"]))
                table.source.append(_shared(known, row["source"]))
                table.line.append(row["line"])
                table.group.append(row["group"])
                table.role.append(row["role"])
                table.parents.append(tuple(row["parents"]))
                table.facts.append(tuple(row["facts"]))
                table.references.append(tuple(row.get("references", ())))
        return cls(**{**table._columns(), "fields": fields})  # type: ignore[arg-type]  # each column under its name


def _shared(known: dict[str, str], text: str) -> str:
    return known.setdefault(text, text) if len(known) < LINES_AT_ONCE else known.get(text, text)
