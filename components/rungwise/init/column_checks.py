"""Checks of the columns of a file: that they exist, can be read, and hold what a task can learn."""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rungwise.config import SourceSettings
from rungwise.core.errors import DataError, Problem
from rungwise.core.folders import joined
from rungwise.core.texts import number_of
from rungwise.dataset.readers import Cell, Row, columns, form_of, object_in, rows, text_of
from rungwise.dataset.readers.chats import COLUMNS
from rungwise.dataset.readers.objects import first_key
from rungwise.init.lost import Lost, counted, listed, remedy
from rungwise.init.sample import examples


def refuse_unreadable(source: SourceSettings, path: Path, names: tuple[str, ...]) -> None:
    """Raises DataError with the reasons why no row of a file can be read, or with the error of the whole file."""
    n, lost = counted(rows(source.model_copy(update={"columns": {}}), path, names))
    what, wanted = "no row of a file can be read", "rows with the columns of the header"
    if form_of(source, path) != "csv":
        wanted = "objects with a key for each column, or rows of a table"
    if lost:
        do = remedy(lost)
        if max(lost, key=lambda reason: lost[reason].n) == "too_many_fields":
            do = f"remove what comes before the header, such as a title; {do}"
        raise DataError(Problem(what, where=str(path), found=listed(lost), wanted=wanted, do=do))
    where = " below the header" if form_of(source, path) == "csv" else ""
    raise DataError(
        Problem(
            what,
            where=str(path),
            found=f"{number_of(n, 'row')} without a column that has a name of its own" if n else f"no rows{where}",
            wanted=wanted,
            do="give each column a name" if n else f"add rows{where}",
        )
    )


def with_unreadable(error: DataError, source: SourceSettings, path: Path, named: Collection[str]) -> DataError:
    """Returns an error about columns with the reasons why columns can't be read, if there are such columns.

    If one of them was named, it is what is wrong. An error of the whole file is returned unchanged.
    """
    try:
        names = [name for name, n in Counter(columns(source, path)).items() if n == 1 and name]
        reasons = _unreadable(source, path, names)
    except DataError:
        return error
    if len(reasons) == len(names):
        return error
    if of_named := {name: lost for name, lost in reasons.items() if name in named}:
        return DataError(
            Problem(
                "no cell of a column can be read",
                where=str(path),
                found="; ".join(listed(lost) for lost in of_named.values()),
                wanted=f"text in column {joined(of_named)}",
                do=remedy(next(iter(of_named.values()))),
            )
        )
    if not reasons:
        return error
    others = "; ".join(listed(lost) for lost in reasons.values())
    return DataError(replace(error.problem, found=f"{error.problem.found}. No cell can be read of: {others}"))


def _unreadable(source: SourceSettings, path: Path, names: Sequence[str]) -> dict[str, dict[str, Lost]]:
    """Returns column -> its rows that can't be read, for the columns without a readable row."""
    plain = source.model_copy(update={"columns": {}})
    unreadable = [name for name in names if not any(isinstance(row, Row) for row in rows(plain, path, (name,)))]
    return {name: counted(rows(plain, path, (name,)))[1] for name in unreadable}


def check_named(
    sample: Mapping[str, Sequence[Cell]],
    path: Path,
    header: Sequence[str],
    texts: Collection[str | None],
    answers: Collection[str | None],
    known: set[str],
) -> None:
    """Raises DataError if a named column does not exist, or occurs twice in the header."""
    repeated = [name for name, n in Counter(header).items() if n > 1 and name]
    for option, names in (("--text", texts), ("--answer", answers)):
        for name in names:
            if name is None:
                continue
            if name in repeated:
                raise DataError(
                    Problem(
                        "a column occurs twice in the header",
                        where=f"{path}, line 1",
                        found=joined(repeated),
                        wanted=f"one column {name}",
                        do="rename one of them in the header",
                    )
                )
            if not is_known(name, known):
                raise DataError(
                    Problem(
                        "a column is missing",
                        where=str(path),
                        found=examples(sample),
                        wanted=name[:60],
                        do=f"give the column names of the file: --text COLUMN --answer COLUMN (here: {option}); "
                        "--no-header if its first line is a row",
                        setting="columns",
                    )
                )


def check_title(sample: Mapping[str, Sequence[Cell]], path: Path, header: Sequence[str]) -> None:
    """Raises DataError if the first line names only one of several columns, as a title above the header does."""
    if len(sample) < 2 and "" in header:
        raise DataError(
            Problem(
                "a column has no name",
                where=f"{path}, the first line",
                found=examples(sample),
                wanted="the names of the columns",
                do="remove what comes before the header, or use --no-header if the first line is a row",
            )
        )


def refuse_parts(sample: Mapping[str, Sequence[Cell]], path: Path, answer: str) -> None:
    """Raises DataError if the answers are about parts of the text: tags for each word, or places."""
    _refuse_tags(sample, path, answer)
    refuse_spans(sample, path, answer)


def _refuse_tags(sample: Mapping[str, Sequence[Cell]], path: Path, answer: str) -> None:
    """Raises DataError if the answers are lists of tags, one for each word of the text."""
    for name in sample:
        pairs = list(zip(sample[name], sample.get(answer, ()), strict=False))
        lists = [(a, b) for a, b in pairs if isinstance(a, tuple) and isinstance(b, tuple)]
        is_tagged = lists and len(lists) == len(pairs) and all(len(a) == len(b) for a, b in lists)
        if name == answer or not is_tagged or len({len(a) for a, _ in lists}) == 1:
            continue
        tags, words = {tag for _, b in lists for tag in b}, {word for a, _ in lists for word in a}
        if len(tags) < len(words) / 2:
            raise DataError(
                Problem(
                    "the answers are tags, one for each word",
                    where=str(path),
                    found=f"lists as long as those of column {name}, of {len(tags)} different tags",
                    wanted="answers for a whole text: a label, a list of items, a text or an object",
                    do=_MARKED,
                )
            )


def refuse_spans(sample: Mapping[str, Sequence[Cell]], path: Path, answer: str) -> None:
    """Raises DataError if the answers are places in the text with a label each, as tools for annotation write them."""
    items = [item for cell in sample.get(answer, ()) if isinstance(cell, tuple) for item in cell]
    if items and sum(map(_is_span, items)) >= 0.9 * len(items):
        raise DataError(
            Problem(
                "the answers are places in the text",
                where=str(path),
                found=f"column {answer} has where parts of the text begin and end, each with a label",
                wanted="answers for a whole text: a label, a list of items, a text or an object",
                do=f"choose another column with --answer, or {_MARKED}",
            )
        )


_SPAN = re.compile(r"\d+ \| \d+ \| .+")
"""A list of a beginning, an end and a label, as a cell."""
_MARKED = 'write what they mark into a column of its own, such as {"person": ["Ada"], "place": ["Rome"]}'


def _is_span(item: str) -> bool:
    keys = set(object_in(item) or ())
    return bool(_SPAN.fullmatch(item)) or {"start", "end"} <= keys or {"start_offset", "end_offset"} <= keys


def unwanted_answers(sample: Mapping[str, Sequence[Cell]], texts: Sequence[str], answer: str) -> list[str]:
    """Returns a warning if a column marks some answers as unwanted, as in data sets for KTO."""
    flags = {text_of(cell).strip().casefold() for cell in sample.get("label", ())}
    if answer != COLUMNS[1] or "label" in texts or not flags or not flags <= {"true", "false"}:
        return []
    return [
        "Warning: column label is true or false in each row. All completions are learned: if false marks unwanted "
        "ones, remove these rows."
    ]


def is_known(name: str, known: set[str]) -> bool:
    """Whether a name is a column of the file, or a path that begins with one."""
    name = spelled(name, known)
    return name in known or first_key(name) in known


def spelled(name: str, known: set[str]) -> str:
    """Returns a column's name with the case and the spaces of the file."""
    alike = [one for one in known if one.strip().casefold() == name.strip().casefold()]
    return name if name in known or len(alike) != 1 else alike[0]
