"""Gathers the English that the pocket models are pretrained on: `python infra/demo/corpus.py --source DIR`.

Five sources, all permissively licensed and none scored by a benchmark: the prose in the docstrings of Python and of
the installed packages; the training half of gsm8k; self_instruct; two small corpora of chats and articles; and stories
sampled from stories260k. A document that is equal to a test row of any benchmark, or shares thirteen consecutive words
with one, is left out and counted. DIR contains `datasets/`, `corpus/` and `models/`.

Writes `corpus.jsonl` (one {"source", "text"} per line) and `corpus.json` (sources, licences, hashes) into `--out`,
which git ignores: the text itself is not part of this repository.
"""

import argparse
import ast
import csv
import hashlib
import importlib.metadata
import json
import random
import re
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SEED, WORDS_SHARED = 31, 13
PERMISSIVE = re.compile(r"\b(MIT|BSD|Apache|PSF|Python Software Foundation|ISC|Zlib)\b", re.I)
NOT_PERMISSIVE = re.compile(r"\b(A?L?GPL|GNU|MPL|Mozilla|Proprietary|NVIDIA)", re.I)
SENTENCE = re.compile(r"[.!?:]$")
CODE = re.compile(r"[{}<>=_|`\\]|::|\w\(|--|\*\*|\.\w+\.\w|^\s*(?:@|\$|#|>>>)")
WORD = re.compile(r"\w+")

Document = tuple[str, str]  # source, text


def prose(text: str) -> str:
    """Returns the paragraphs of a docstring that are English prose: whole sentences, few symbols, no code."""
    kept = []
    for raw in re.split(r"\n\s*\n", text):
        paragraph = re.sub(r"\s+", " ", raw).strip()
        letters = sum(c.isalpha() or c == " " for c in paragraph)
        if (
            len(paragraph) >= 60
            and paragraph[0].isupper()
            and SENTENCE.search(paragraph)
            and letters >= 0.9 * len(paragraph)
            and len(CODE.findall(paragraph)) <= len(paragraph) / 100
        ):
            kept.append(paragraph)
    return "\n".join(kept)


def docstrings(folder: Path, skip: tuple[str, ...] = ()) -> Iterator[str]:
    """Yields the prose of every docstring under a folder of Python files."""
    for path in sorted(folder.rglob("*.py")):
        if any(part in {"tests", "test", "_vendor", *skip} for part in path.parts):
            continue
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError, ValueError, RecursionError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                if text := prose(ast.get_docstring(node) or ""):
                    yield text


def python_topics() -> Iterator[str]:
    """Yields the prose of the language reference, which ships as the topics of `help()`."""
    from pydoc_data.topics import topics

    for _, text in sorted(topics.items()):
        if kept := prose(text):
            yield kept


def dependencies() -> Iterator[tuple[str, str, Path]]:
    """Yields (name and version, licence, folder) of every installed package under a permissive licence."""
    for package in sorted(importlib.metadata.distributions(), key=lambda d: d.metadata["Name"].lower()):
        metadata = package.metadata
        classifiers = [c for c in metadata.get_all("Classifier") or [] if c.startswith("License ::")]
        named = "; ".join(c.split(" :: ")[-1] for c in classifiers if c != "License :: OSI Approved")
        licence = metadata.get("License-Expression") or named or (metadata.get("License") or "").strip().split("\n")[0]
        every = " ".join([licence, *classifiers])
        if not PERMISSIVE.search(every) or NOT_PERMISSIVE.search(every):
            continue
        tops = {
            Path(str(f)).parts[0] for f in package.files or [] if str(f).endswith(".py") and len(Path(str(f)).parts) > 1
        }
        for top in sorted(tops):
            folder = Path(str(package.locate_file(top)))
            if ".." not in top and folder.is_dir():
                yield f"{metadata['Name']} {package.version}", licence, folder


def stories(model_folder: Path, characters: int, out: Path) -> list[str]:
    """Returns whole stories sampled from stories260k. They are stored in a file, so that a second call is free."""
    kept = out / "stories.json"
    if kept.exists():
        return list(json.loads(kept.read_text(encoding="utf-8")))
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(SEED)
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    model = AutoModelForCausalLM.from_pretrained(model_folder).eval()
    start = torch.full((256, 1), tokenizer.bos_token_id)
    texts: list[str] = []
    while sum(map(len, texts)) < characters:
        with torch.inference_mode():
            ids = model.generate(start, do_sample=True, temperature=0.7, top_k=0, max_new_tokens=400, pad_token_id=0)
        whole = [row for row in ids if tokenizer.bos_token_id in row[1:]]
        texts += [text.strip() for text in tokenizer.batch_decode(whole, skip_special_tokens=True)]
        print(f"stories: {sum(map(len, texts)):,} of {characters:,} characters", flush=True)
    kept.write_text(json.dumps(texts), encoding="utf-8")
    return texts


def lines(path: Path) -> list[Any]:
    """Returns the values of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def chats(source: Path) -> Iterator[Document]:
    """Yields gsm8k's training half, self_instruct, and the two corpora, as plain text."""
    for row in lines(source / "datasets/gsm8k/train.jsonl"):
        answer = re.sub(r"<<.*?>>", "", row["answer"]).replace("####", "The answer is")
        yield "gsm8k train", f"Question: {row['question']}\nAnswer: {answer}"
    for name in ("seed_tasks", "user_oriented_instructions"):
        for row in lines(source / f"datasets/self_instruct/{name}.jsonl"):
            for one in row["instances"]:
                yield "self_instruct", "\n".join(t for t in (row["instruction"], one["input"], one["output"]) if t)
    articles = json.loads((source / "corpus/llm_handbook_writing.json").read_text(encoding="utf-8"))
    for half in articles.values():
        if isinstance(half, dict):
            for row in half["articles"]["samples"]:
                yield "llm_handbook_writing", f"{row['instruction']}\n{row['answer']}"
    for row in json.loads((source / "corpus/glaive_toolcall.json").read_text(encoding="utf-8")):
        said = [turn["value"] for turn in row["conversations"] if turn["from"] in {"human", "gpt"}]
        yield "glaive_toolcall", "\n".join(said)


def benchmark_rows(source: Path, tickets: Path) -> Iterator[str]:
    """Yields the input of every row that a benchmark or the demonstration scores (all rows without a test half)."""
    data = source / "datasets"

    def table(path: Path, column: str | int, delimiter: str = ",") -> Iterator[str]:
        with path.open(encoding="utf-8", newline="") as file:
            if isinstance(column, int):
                yield from (row[column] for row in csv.reader(file, delimiter=delimiter, quoting=csv.QUOTE_NONE) if row)
            else:
                yield from (row[column] for row in csv.DictReader(file, delimiter=delimiter))

    yield from table(data / "banking77/test.csv", "text")
    for name in ("test", "oos_test", "val", "oos_val"):
        yield from (text for text, _ in json.loads((data / "clinc150/data_full.json").read_text())[name])
    for path in sorted((data / "snips").glob("validate_*.json")):
        rows = next(iter(json.loads(path.read_text(encoding="utf-8")).values()))
        yield from ("".join(chunk["text"] for chunk in row["data"]) for row in rows)
    for text in (data / "trec/TREC_10.label").read_text(encoding="latin-1").splitlines():
        yield text.split(" ", 1)[1]
    for half in ("Testing", "Validation"):
        yield from table(data / f"bitext_support/Bitext_Sample_Customer_Service_{half}_Dataset.csv", "utterance")
    yield from table(data / "sms_spam/raw_data.tsv", 1, "\t")
    yield from (row["text"] for row in lines(data / "inspec_keywords/inspec.jsonl"))
    for column in ("mr", "ref"):
        yield from table(data / "e2e_nlg/testset_w_refs.csv", column)
        yield from table(data / "e2e_nlg/devset.csv", column)
    for row in lines(data / "dolly_small/dolly_hhrlhf_train_small.jsonl"):
        yield from (row["prompt"], row["response"])
    for row in lines(data / "gsm8k/test.jsonl"):
        yield from (row["question"], row["answer"])
    if tickets.exists():
        for column in ("body", "reply"):
            yield from table(tickets, column)


class Overlap:
    """Finds text that equals a scored row, or shares thirteen consecutive words with one."""

    def __init__(self, rows: Iterator[str]):
        self.whole: set[str] = set()
        self.grams: set[int] = set()
        self.rows = 0
        for row in rows:
            self.rows += 1
            words = WORD.findall(row.lower())
            self.whole.add(" ".join(words))
            self.grams |= set(self._grams(words))

    @staticmethod
    def _grams(words: list[str]) -> Iterator[int]:
        for i in range(len(words) - WORDS_SHARED + 1):
            yield hash(tuple(words[i : i + WORDS_SHARED]))

    def matches(self, text: str) -> bool:
        """Returns whether the text, or a line or sentence of it, is a scored row, or shares words with one."""
        parts = [text, *re.split(r"\n|(?<=[.!?])\s", text)]
        if any(len(words := WORD.findall(p.lower())) >= 4 and " ".join(words) in self.whole for p in parts):
            return True
        return any(g in self.grams for g in self._grams(WORD.findall(text.lower())))


def digest(texts: list[str]) -> str:
    """Returns the SHA-256 of the texts in the given order."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def gather(source: Path, out: Path, story_characters: int, card: Path | None = None) -> None:
    """Writes corpus.jsonl and corpus.json into `out`. `card`: reads only packages that this model card names."""
    out.mkdir(parents=True, exist_ok=True)
    licences: dict[str, str] = {}
    documents: list[Document] = []
    python = f"Python {sysconfig.get_python_version()}"
    licences[python] = "PSF-2.0"
    for text in (*docstrings(Path(sysconfig.get_path("stdlib")), skip=("site-packages",)), *python_topics()):
        documents.append((python, text))
    named = card.read_text(encoding="utf-8") if card else None
    for name, licence, folder in dependencies():
        if named is not None and f"| {name} |" not in named:
            continue
        texts = list(docstrings(folder))
        documents += [(name, text) for text in texts]
        if texts:
            licences[name] = licence
    licences |= {
        "gsm8k train": "MIT",
        "self_instruct": "Apache-2.0",
        "llm_handbook_writing": "MIT",
        "glaive_toolcall": "Apache-2.0",
        "stories260k samples": "MIT",
    }
    documents += chats(source)
    documents += [
        ("stories260k samples", text) for text in stories(source / "models/stories260k", story_characters, out)
    ]
    overlap = Overlap(benchmark_rows(source, Path(__file__).parent / "tickets.csv"))
    left_out: Counter[str] = Counter()
    seen: set[str] = set()
    kept: list[Document] = []
    for name, text in documents:
        # Paragraphs repeat across docstrings: each is kept only in the first document that has it.
        fresh = [line for line in text.split("\n") if len(line) < 60 or line not in seen]
        seen.update(fresh)
        rest = "\n".join(fresh).strip()
        if len(rest) < 60:
            left_out["repeated"] += 1
        elif overlap.matches(rest):
            left_out[f"overlap with a scored row: {name}"] += 1
        else:
            kept.append((name, rest))
    random.Random(SEED).shuffle(kept)
    with (out / "corpus.jsonl").open("w", encoding="utf-8") as file:
        for name, text in kept:
            file.write(json.dumps({"source": name, "text": text}, ensure_ascii=False) + "\n")
    by_source: dict[str, list[str]] = {}
    for name, text in kept:
        by_source.setdefault(name, []).append(text)
    facts = {
        "seed": SEED,
        "sha256": digest([text for _, text in kept]),
        "documents": len(kept),
        "characters": sum(len(text) for _, text in kept),
        "scored_rows_checked": overlap.rows,
        "left_out": dict(left_out),
        "sources": {
            name: {
                "licence": licences[name],
                "documents": len(texts),
                "characters": sum(map(len, texts)),
                "sha256": digest(sorted(texts)),
            }
            for name, texts in sorted(by_source.items())
        },
    }
    (out / "corpus.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({k: v for k, v in facts.items() if k != "sources"}, indent=1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--source", type=Path, required=True, help="folder with datasets/, corpus/ and models/")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "pretraining")
    parser.add_argument("--story-characters", type=int, default=4_000_000)
    parser.add_argument(
        "--as-card", type=Path, metavar="CARD", help="read only the packages that this model card names"
    )
    arguments = parser.parse_args()
    sys.setrecursionlimit(10_000)
    gather(arguments.source, arguments.out, arguments.story_characters, arguments.as_card)
