"""Puts a public data set's files into data/raw: unchanged where Rungwise reads them, otherwise as JSON lines.

Reads the folder of a data set, as its authors published it. Rows keep their order, and official test sets stay apart.
"""

import json
import random
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

Record = Mapping[str, object]


def _trec(source: Path, raw: Path) -> None:
    """`LABEL:fine question` in Latin-1; the label is the part before the colon."""
    for name, file in (("train", "train_5500.label"), ("test", "TREC_10.label")):
        lines = (source / file).read_text(encoding="latin-1").splitlines()
        pairs = (line.split(" ", 1) for line in lines)
        _write(raw / f"{name}.jsonl", ({"text": text, "label": kind.partition(":")[0]} for kind, text in pairs))


def _clinc150(source: Path, raw: Path) -> None:
    """Lists of [text, intent]; those out of scope are apart and are added to their side. A sample is validated on."""
    sides = json.loads((source / "data_full.json").read_text(encoding="utf-8"))
    for name, parts in (("train", ("train", "oos_train")), ("dev", ("val", "oos_val")), ("test", ("test", "oos_test"))):
        rows = [row for part in parts for row in sides[part]]
        rows = random.Random(0).sample(rows, VALIDATION_ROWS) if name == "dev" else rows
        _write(raw / f"{name}.jsonl", ({"text": text, "label": label} for text, label in rows))


def _e2e_nlg(source: Path, raw: Path) -> None:
    """Several references for one input: all of them to train on, the first of each input to test on."""
    import pandas as pd

    for name, file in (("train", "devset.csv"), ("test", "testset_w_refs.csv")):
        frame = pd.read_csv(source / file, dtype=str, keep_default_na=False)
        frame = frame.drop_duplicates("mr") if name == "test" else frame
        pairs = zip(frame["mr"], frame["ref"], strict=True)
        _write(raw / f"{name}.jsonl", ({"mr": mr, "ref": ref, "facts": _name(mr)} for mr, ref in pairs))


def _name(mr: str) -> str:
    match = re.search(r"name\[([^\]]*)\]", mr)
    return match[1] if match else ""


def _inspec(source: Path, raw: Path) -> None:
    """Keywords as a list, repeated ones once."""
    rows = _lines(source / "inspec.jsonl")
    joined = ({"text": row["text"], "keywords": "; ".join(dict.fromkeys(_texts(row["keywords"])))} for row in rows)
    _write(raw / "rows.jsonl", joined)


def _gsm8k(source: Path, raw: Path) -> None:
    """The result is the last line of a solution, `#### NUMBER`."""
    for name in ("train", "test"):
        rows = _lines(source / f"{name}.jsonl")
        _write(raw / f"{name}.jsonl", ({**row, "result": str(row["answer"]).splitlines()[-1]} for row in rows))


VALIDATION_ROWS: Final = 1_000
"""Of clinc150's validation rows as many are drawn at random: every rung is scored on them."""
PREPARE: Final[Mapping[str, Callable[[Path, Path], None]]] = {
    "trec": _trec,
    "clinc150": _clinc150,
    "e2e_nlg": _e2e_nlg,
    "inspec_keywords": _inspec,
    "gsm8k": _gsm8k,
}
"""Data set -> the function that writes its rows; the files of other data sets are copied."""


def prepare(name: str, source: Path, raw: Path) -> None:
    """Writes the rows of the data set `name`, whose files are in `source`, into the new folder `raw`."""
    if name in PREPARE:
        raw.mkdir(parents=True)
        PREPARE[name](source, raw)
    else:
        shutil.copytree(source, raw)


def _texts(values: object) -> list[str]:
    return [str(value) for value in values] if isinstance(values, list) else []


def _lines(path: Path) -> Iterable[Record]:
    for line in path.read_text(encoding="utf-8").splitlines():
        yield json.loads(line)


def _write(path: Path, rows: Iterable[Record]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")
