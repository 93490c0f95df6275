"""The usual way: TREC's questions with the same base, steps and LoRA settings, by Rungwise and by TRL with `generate`.

`python -m benchmarks.usual --source FOLDER [--quick] [--repeats N] [--write]`, after `pip install -e .[bench]`. FOLDER
contains `datasets/trec`. The base is smollm2-135m. Both train LoRA of rank 16 on all linear layers on the same token
rows for the same number of steps, and answer the official test rows: Rungwise scores the labels, the usual way writes
an answer with `generate` in batches and compares texts. TRL trains plain, and packed into rows of 512 tokens. Every run
is a process of its own on two threads. Processor seconds count (user and system), from the loaded base to the last
answer; of several rounds each run's least.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from benchmarks.real_data.prepare import prepare
from benchmarks.report import Figure, at_least, at_most, machine, parser, publish

BASE: Final = "smollm2-135m"
PROMPT: Final = "Question: {text}\nType:"
RANK, ALPHA, BATCH, STEPS, PACKED = 16, 32.0, 32, 200, 512
QUICK_BASE, QUICK_STEPS, QUICK_TEST = "pocket-s", 2, 32
RUNS: Final = ("rungwise", "trl plain", "trl packed") if find_spec("trl") else ("rungwise",)


def rows_of(source: Path) -> tuple[list[Any], list[Any]]:
    """Returns TREC's training and test rows as examples."""
    from rungwise.core.records import Example

    sides = []
    with tempfile.TemporaryDirectory() as temporary:
        raw = Path(temporary) / "raw"
        prepare("trec", source / "datasets" / "trec", raw)
        for side in ("train", "test"):
            lines = (raw / f"{side}.jsonl").read_text(encoding="utf-8").splitlines()
            given = [json.loads(line) for line in lines]
            sides.append(
                [Example(str(i), {"text": r["text"]}, r["label"], side, i, str(i)) for i, r in enumerate(given)]
            )
    return sides[0], sides[1]


def seconds() -> float:
    """Returns the processor seconds of this process, user and system."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def spec_of(precision: str, base: str, steps: int, labels: tuple[str, ...]) -> Any:
    """Returns the settings of the attempt; the learning rate follows from Rungwise's rule."""
    from rungwise.core.records import AnswerForm, AttemptSpec, Base

    return AttemptSpec(
        Base(base), "lora", PROMPT, AnswerForm("label", labels), precision=precision, rank=RANK, alpha=ALPHA,
        steps=steps, batch_size=BATCH, max_tokens_per_microbatch=4_096,
    )  # fmt: skip


def once(run: str, source: Path, precision: str, is_quick: bool) -> dict[str, Any]:
    """Returns the accuracy and the processor seconds of one run, made in this process."""
    import peft  # noqa: F401  # its import takes seconds, which are not what is compared

    from rungwise.core.prompts import prompt_text
    from rungwise.model.language_model import encode_answers, encode_prompts, load

    base, steps = (QUICK_BASE, QUICK_STEPS) if is_quick else (BASE, STEPS)
    train, test = rows_of(source)
    test = test[:QUICK_TEST] if is_quick else test
    labels = tuple(sorted({e.answer for e in train}))
    spec = spec_of(precision, base, steps, labels)
    lm = load(spec.base, source, precision=precision)
    prompts = encode_prompts(lm, [prompt_text(PROMPT, e.fields) for e in train])
    answers = encode_answers(lm, [e.answer for e in train])
    tokens = list(zip(prompts, answers, strict=True))
    started = seconds()
    made = by_rungwise(lm, spec, tokens, test) if run == "rungwise" else by_trl(lm, spec, tokens, test, "packed" in run)
    right = sum(answer == e.answer for answer, e in zip(made.pop("answers"), test, strict=True))
    made["all_seconds"] = seconds() - started
    made["answer_seconds"] = made["all_seconds"] - made["train_seconds"]
    made |= {"right": right, "n": len(test), "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    return made


def by_rungwise(lm: Any, spec: Any, tokens: list[Any], test: list[Any]) -> dict[str, Any]:
    """Trains and answers with Rungwise; returns the answers, the losses and the seconds of training."""
    from rungwise.model.predict import Prompted
    from rungwise.training.batches import TokenRow
    from rungwise.training.loop import train

    started = seconds()
    rows = [TokenRow(tuple(prompt), tuple(answer)) for prompt, answer in tokens]
    trained = train(lm, spec, rows, progress=lambda *_: None)
    train_seconds = seconds() - started
    answers = [p.answer for p in Prompted(trained.lm, spec).predict(test)]
    return {
        "answers": answers, "losses": list(trained.losses), "train_seconds": train_seconds,
        "tokens": trained.tokens, "learning_rate": trained.learning_rate,
    }  # fmt: skip


def by_trl(lm: Any, spec: Any, tokens: list[Any], test: list[Any], is_packed: bool) -> dict[str, Any]:
    """Trains with TRL's SFTTrainer and answers with `generate`; returns the same values as `by_rungwise`."""
    import logging
    import warnings

    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    import torch
    from datasets import Dataset
    from peft import LoraConfig, get_peft_model
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from rungwise.core.prompts import prompt_text
    from rungwise.model.language_model import encode_prompts
    from rungwise.training.learning_rate import peak_learning_rate

    losses: list[float] = []

    class Watch(TrainerCallback):  # type: ignore[misc]  # transformers is not followed by mypy
        def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
            if "loss" in logs:
                losses.append(float(logs["loss"]))

    model = fresh_model(lm, spec)
    model = get_peft_model(
        model, LoraConfig(r=RANK, lora_alpha=int(ALPHA), target_modules="all-linear", task_type="CAUSAL_LM")
    )
    mean = sum(len(prompt) + len(answer) for prompt, answer in tokens) / len(tokens)
    per_step = max(1, round(BATCH * mean / PACKED)) if is_packed else BATCH
    order = list(tokens)
    random.Random(0).shuffle(order)
    started = seconds()
    with tempfile.TemporaryDirectory() as out:
        arguments = SFTConfig(
            output_dir=out, max_steps=spec.steps, per_device_train_batch_size=per_step,
            learning_rate=peak_learning_rate(lm, spec), lr_scheduler_type="cosine", warmup_steps=spec.warmup_share,
            weight_decay=0.0, max_grad_norm=1.0, max_length=PACKED, packing=is_packed, completion_only_loss=True,
            gradient_checkpointing=False, bf16=spec.precision == "bf16", use_cpu=lm.device == "cpu", logging_steps=1,
            save_strategy="no", report_to=[], disable_tqdm=True, dataloader_num_workers=0,
        )  # fmt: skip
        data = Dataset.from_dict(
            {
                "input_ids": [[*prompt, *answer] for prompt, answer in order],
                "completion_mask": [[0] * len(prompt) + [1] * len(answer) for prompt, answer in order],
            }
        )
        trainer = SFTTrainer(
            model=model, args=arguments, train_dataset=data, processing_class=lm.tokenizer, callbacks=[Watch()]
        )
        trainer.train()
    train_seconds = seconds() - started
    model.eval()
    prompts = encode_prompts(lm, [prompt_text(PROMPT, e.fields) for e in test])
    longest = max(len(answer) for _, answer in tokens)
    answers: list[str] = [""] * len(prompts)
    by_length = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    for at in range(0, len(by_length), BATCH):
        chosen = by_length[at : at + BATCH]
        width = max(len(prompts[i]) for i in chosen)
        ids = torch.tensor([[lm.end] * (width - len(prompts[i])) + prompts[i] for i in chosen])
        mask = torch.tensor([[0] * (width - len(prompts[i])) + [1] * len(prompts[i]) for i in chosen])
        with torch.inference_mode():
            out_ids = model.generate(
                input_ids=ids, attention_mask=mask, max_new_tokens=longest, do_sample=False, pad_token_id=lm.end
            )
        for i, text in zip(
            chosen, lm.tokenizer.batch_decode(out_ids[:, width:], skip_special_tokens=True), strict=True
        ):
            answers[i] = text.strip()
    return {"answers": answers, "losses": losses, "train_seconds": train_seconds}


def fresh_model(lm: Any, spec: Any) -> Any:
    """Returns the base as transformers loads it, without Rungwise's changes."""
    import torch
    from transformers import AutoModelForCausalLM

    from rungwise.model.bases import base_folder

    kind = torch.bfloat16 if spec.precision == "bf16" else torch.float32
    return AutoModelForCausalLM.from_pretrained(base_folder(lm.base, Path()), dtype=kind)


def in_a_process(run: str, source: Path, precision: str, is_quick: bool) -> dict[str, Any]:
    """Runs `--one` in a process on two threads; returns the JSON of its last line."""
    command = [sys.executable, "-m", "benchmarks.usual", "--source", str(source)]
    command += ["--one", run, precision, "quick" if is_quick else "full"]
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{run} failed:\n{done.stderr[-3000:]}")
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def figures(detail: dict[str, Any]) -> dict[str, Figure]:
    """Returns ours over theirs, all work and training alone, and the accuracies; without TRL ours alone."""
    own = detail["runs"]["rungwise"]
    made = {"rungwise: test accuracy": Figure(round(own["right"] / own["n"], 4), unit="accuracy")}
    made["rungwise: processor time"] = Figure(round(own["all_seconds"], 1), unit="s")
    peers = {run: one for run, one in detail["runs"].items() if run != "rungwise"}
    for run, one in peers.items():
        made[f"{run}: test accuracy"] = Figure(round(one["right"] / one["n"], 4), unit="accuracy")
        made[f"{run}: processor time"] = Figure(round(one["all_seconds"], 1), unit="s")
    if peers:
        peer = "TRL, the better of plain and packed"
        whole = own["all_seconds"] / min(one["all_seconds"] for one in peers.values())
        made["share of the usual time"] = at_most(round(whole, 3), 0.4, "ratio", peer)
        speed = min(one["train_seconds"] for one in peers.values()) / own["train_seconds"]
        made["training: times as fast"] = at_least(round(speed, 3), 3.0, "ratio", peer)
    return made


def main() -> None:
    """Runs the benchmark."""
    arguments = parser(__doc__, quick="a pocket model, 2 steps, 32 answers", needs_source="datasets/trec")
    arguments.add_argument("--repeats", type=int, default=1, metavar="N", help="rounds; each run's least time counts")
    arguments.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    arguments.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.one:
        run, precision, size = options.one
        print(json.dumps(once(run, options.source, precision, size == "quick")))
        return
    best: dict[str, Any] = {}
    for _ in range(options.repeats):
        for run in RUNS:
            one = in_a_process(run, options.source, options.precision, options.quick)
            print(f"{run:<12}{one['all_seconds']:>8.1f} s, training {one['train_seconds']:.1f} s, "
                  f"{one['right']} of {one['n']} right, {one['peak_mib']:,.0f} MiB", flush=True)  # fmt: skip
            if run not in best or one["all_seconds"] < best[run]["all_seconds"]:
                best[run] = one
    detail = {"precision": options.precision, "runs": best}
    publish("usual", figures(detail), detail, options, machine=machine(), suffix=options.precision)


if __name__ == "__main__":
    main()
