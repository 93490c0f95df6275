"""Answering compared with transformers' `generate`, row by row: a part of `benchmarks.training`, which runs it.

The model is tuned first, because evaluated models are. `labels_before_tuning` is the base itself, which has no clear
favourite among the labels.
"""

import csv
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.training import BATCH, RANK, RATE, SHARED, read_rows

READ: Final = 200
"""Number of mails that the pocket model answers; the mails before them tune it."""
INSTRUCTION: Final = """\
You sort the mail of a shop for outdoor equipment. Read the mail and answer with the name of one queue alone. The queues
are: {queues}. A mail that asks for money back goes to returns if the customer has the goods, and to billing if not. A
mail that fits no queue goes to other.
"""
POCKET: Final = Path(__file__).parents[1] / "infra" / "demo"


def of_texts(folder: Path, kind: str, n_rows: int, steps: int) -> dict[str, Any]:
    """Returns how fast the benchmark's base answers its rows, tuned on 16 labels of three prompt tokens each."""
    from rungwise.core.records import Base
    from rungwise.model.language_model import load

    lm = load(Base(folder.name), folder.parent)
    prompts = [prompt for prompt, _ in read_rows(folder, kind, n_rows)]
    n_shared = SHARED.get(kind, 0)
    labels = [[*prompts[i][n_shared : n_shared + 3], lm.end] for i in range(16)]
    training = [(prompt, labels[i % 16]) for i, prompt in enumerate(prompts)]
    return tuned(lm, training, prompts, labels, steps)


def of_mails(kind: str, steps: int) -> dict[str, Any]:
    """Returns how fast a pocket base names the queues of the demonstration's last mails, tuned on the mails before.

    For a kind with a shared prefix, every prompt begins with INSTRUCTION.
    """
    from rungwise.core.records import Base
    from rungwise.model.language_model import encode_answers, encode_prompts, load

    lm = load(Base("pocket-m"), POCKET / "models")
    with (POCKET / "tickets.csv").open(encoding="utf-8", newline="") as stream:
        mails = [row for row in csv.DictReader(stream) if row["queue"]]
    queues = sorted({row["queue"] for row in mails})
    head = INSTRUCTION.format(queues=", ".join(queues)) if kind in SHARED else ""
    prompts = encode_prompts(lm, [f"{head}Mail: {row['body']}\nQueue:" for row in mails])
    answers = encode_answers(lm, [row["queue"] for row in mails])
    training = list(zip(prompts, answers, strict=True))[:-READ]
    return tuned(lm, training, prompts[-READ:], encode_answers(lm, queues), steps)


def tuned(
    lm: Any, training: list[Any], prompts: list[list[int]], labels: list[list[int]], steps: int
) -> dict[str, Any]:
    """Returns `compared` for the tuned base, and the labels' ratio of the base before tuning."""
    from rungwise.core.records import AnswerForm, AttemptSpec
    from rungwise.training.batches import TokenRow
    from rungwise.training.loop import train

    before = compared(lm, prompts, labels)["labels_times_as_fast_as_generate"]
    spec = AttemptSpec(
        lm.base,
        "lora",
        "{x}",
        AnswerForm("text"),
        rank=RANK,
        alpha=2 * RANK,
        steps=steps,
        batch_size=BATCH,
        learning_rate=RATE,
    )
    made = train(lm, spec, [TokenRow(tuple(p), tuple(a)) for p, a in training], progress=lambda *_: None)
    return {**compared(made.lm, prompts, labels), "labels_before_tuning": before}


def compared(lm: Any, prompts: list[list[int]], labels: list[list[int]]) -> dict[str, Any]:
    """Returns how much faster answers are written and labels chosen than row by row, and the share that is equal."""
    import torch

    from rungwise.model.answers import score_labels, write_answers

    n_new = 12

    def row_by_row(n_new: int) -> list[list[int]]:
        made = []
        for prompt in prompts:
            out = lm.model.generate(
                torch.tensor([prompt]), max_new_tokens=n_new, do_sample=False, eos_token_id=lm.end, pad_token_id=lm.end
            )
            made.append([t for t in out[0, len(prompt) :].tolist() if t != lm.end])
        return made

    def label_by_label() -> list[int]:
        chosen = []
        for prompt in prompts:
            scores = []
            for label in labels:
                logits = lm.model(torch.tensor([[*prompt, *label]])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
                scores.append(float(logits.gather(1, torch.tensor(label)[:, None]).sum()))
            chosen.append(max(range(len(labels)), key=lambda i: scores[i]))
        return chosen

    def timed(act: Any) -> tuple[float, Any]:
        with torch.inference_mode():
            start = time.perf_counter()
            answers = act()
            return time.perf_counter() - start, answers

    write_answers(lm, prompts[:2], 2)
    slow, expected = timed(lambda: row_by_row(n_new))
    slow_generate, _ = timed(lambda: row_by_row(max(map(len, labels))))
    fast, written = timed(lambda: write_answers(lm, prompts, n_new))
    expected_texts = [lm.tokenizer.decode(t, skip_special_tokens=True).strip() for t in expected]
    slow_labels, expected_labels = timed(label_by_label)
    fast_labels, scores = timed(lambda: score_labels(lm, prompts, labels))
    return {
        "writing_times_as_fast": slow / fast,
        "writing_same": sum(w.text.strip() == t for w, t in zip(written, expected_texts, strict=True)) / len(prompts),
        "labels_times_as_fast_as_generate": slow_generate / fast_labels,
        "labels_times_as_fast_as_one_by_one": slow_labels / fast_labels,
        "labels_same": sum(a == b for a, b in zip(scores.argmax(1).tolist(), expected_labels, strict=True))
        / len(prompts),
    }
