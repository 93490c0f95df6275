"""Faults planted into the tokens of real training rows, and which of them the token audit finds.

`python -m benchmarks.audit --source ../shared [--quick] [--write]`. `--source` holds `datasets/banking77` and
`models/stories260k`. Each fault of a row is planted in 5 % of the rows, each of the base in the base; found is the
fault with the share that was planted and nothing else. The peer is what trainers do with such rows: nothing.
"""

import argparse
import json
import platform
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.leakage import read
from rungwise.core.records import Base, Example
from rungwise.model.language_model import LanguageModel, load
from rungwise.training.audit import Encoded, audit
from rungwise.training.batches import encode

RESULTS = Path(__file__).parent / "results" / "audit.json"
EVERY = 20
"""One of so many rows has a planted fault."""
PROMPT = "Message:\n{text}\nTopic:"
FAULTS = (
    "cut_answer", "empty_answer", "no_target", "over_context", "unknown_tokens", "lost_newlines", "no_end",
    "untrained_end", "pad_in_text", "no_assistant_part"
)  # fmt: skip


def planted(lm: LanguageModel, row: Encoded, fault: str) -> Encoded:
    """Returns the row with one fault in it."""
    ids, unknown = list(row.prompt), int(lm.tokenizer.unk_token_id or 0)
    changed = {
        "cut_answer": lambda: replace(row, targets=[*row.targets[: max(1, len(row.targets) // 2)], lm.end]),
        "empty_answer": lambda: replace(row, targets=[lm.end]),
        "no_target": lambda: replace(row, targets=[]),
        "over_context": lambda: _long(lm, row),
        "unknown_tokens": lambda: replace(row, prompt=[*ids[:-1], unknown, ids[-1]]),
        "lost_newlines": lambda: _without_newlines(lm, row),
        "no_end": lambda: replace(row, targets=row.targets[:-1]),
    }
    return changed[fault]()


def _long(lm: LanguageModel, row: Encoded) -> Encoded:
    text = row.prompt_text + " and so on" * lm.context_tokens
    ids = lm.tokenizer(text, add_special_tokens=False).input_ids[: lm.context_tokens - 2]
    whole = [*lm.prefix, *ids][: lm.context_tokens - 1]
    return replace(row, prompt=whole, prompt_text=lm.tokenizer.decode(whole[len(lm.prefix) :]))


def _without_newlines(lm: LanguageModel, row: Encoded) -> Encoded:
    ids = lm.tokenizer(row.prompt_text.replace("\n", " "), add_special_tokens=False).input_ids
    return replace(row, prompt=[*lm.prefix, *ids])


def with_faulty_base(lm: LanguageModel, fault: str, rows: tuple[Encoded, ...]) -> LanguageModel:
    """Returns the model with one fault of its own."""
    import torch

    if fault == "untrained_end":
        with torch.no_grad():
            lm.model.get_output_embeddings().weight[lm.end] *= 1e-3
        return lm
    if fault == "pad_in_text":
        lm.tokenizer.pad_token = lm.tokenizer.convert_ids_to_tokens(int(rows[0].prompt[-1]))
        return lm
    lm.tokenizer.chat_template = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}{% endfor %}"
    return replace(lm, template="chat")


def main() -> None:
    """Plants, looks, prints a table and one line of JSON and, with --write, keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    pairs = read(arguments.source / "datasets" / "banking77" / "train.csv")[:: 10 if arguments.quick else 1]
    examples = [Example(str(i), {"text": text}, label, "s", i, str(i)) for i, (text, label) in enumerate(pairs)]
    base = Base(str((arguments.source / "models" / "stories260k").resolve()))

    def fresh() -> tuple[LanguageModel, tuple[Encoded, ...]]:
        lm = load(base, Path("/"))
        return lm, encode(lm, PROMPT, examples)

    lm, rows = fresh()
    start = time.process_time()
    clean = audit(lm, rows)
    seconds = time.process_time() - start
    print(f"clean: {clean.rows:,} rows, {clean.tokens:,} tokens, faults {dict(clean.faults)}, {seconds:.1f} s")
    result: dict[str, Any] = {"clean": dict(clean.faults), "faults": {}}
    for fault in FAULTS:
        lm, rows = fresh()
        if fault in FAULTS[-3:]:
            lm, share = with_faulty_base(lm, fault, rows), 1.0
        else:
            marked = tuple(planted(lm, r, fault) if i % EVERY == 0 else r for i, r in enumerate(rows))
            rows, share = marked, sum(i % EVERY == 0 for i in range(len(rows))) / len(rows)
        found = audit(lm, rows).faults
        others = {name: value for name, value in found.items() if name != fault and name not in clean.faults}
        is_found = fault in found and (fault == "pad_in_text" or abs(found[fault] - share) < 1e-9)
        result["faults"][fault] = {"planted": share, "found": found.get(fault, 0.0), "others": others, "ok": is_found}
        print(f"{fault:<20}{share:>8.2%} planted{found.get(fault, 0.0):>9.2%} found   others {others or 'none'}")
    n_found = sum(one["ok"] for one in result["faults"].values())
    figures = {
        "planted faults found": {
            "value": n_found, "unit": f"of {len(FAULTS)}", "goal": len(FAULTS), "peer": "trainers in use: none",
            "met": n_found == len(FAULTS),
        },
        "faults on clean rows": {
            "value": len(clean.faults), "unit": "kinds", "goal": 0, "peer": "", "met": not clean.faults,
        },
        "seconds a million tokens": {
            "value": round(seconds / clean.tokens * 1e6, 2), "unit": "s of processor time", "goal": None, "peer": "",
            "met": None,
        },
    }  # fmt: skip
    summary = {"benchmark": "audit", "machine": f"{platform.machine()}, Python {platform.python_version()}"}
    print(json.dumps({**summary, "figures": figures}))
    if arguments.write:
        RESULTS.write_text(json.dumps({**summary, "figures": figures, **result}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
