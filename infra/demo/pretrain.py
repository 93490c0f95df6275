"""Pretrains a base model of the demonstration: `python infra/demo/pretrain.py pocket-s`, after `corpus.py`.

Three sizes of one Llama design with one byte-level BPE of 2,048 tokens, from random weights on the corpus that
`corpus.py` gathered. It may be stopped at any time: the same command resumes from the last checkpoint (written every
two minutes, and on SIGINT and SIGTERM). The block of text that a step reads depends only on the seed and the number of
the step. It uses a GPU if there is one. At the end it writes weights (bf16 safetensors), tokenizer and model card to
`infra/demo/models/NAME`; everything else stays in `--work`, outside git.
"""

import argparse
import json
import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SEED, CONTEXT, BATCH, HELD_OUT, VOCABULARY = 20, 512, 16, 40, 2048
AT_ONCE = 8  # rows per backward pass on a CPU, so that they fit its caches; a GPU takes the whole batch
END, PAD = "<|end|>", "<|pad|>"
WARM_UP, DECAY = 0.02, 0.4  # shares of all steps: the rate rises, stays constant, and falls linearly to zero


@dataclass(frozen=True)
class Size:
    """A size of the design. `tokens`: the length of the training run; `rate`: Muon's learning rate."""

    hidden: int
    inner: int
    layers: int
    heads: int
    shared: int
    tokens: int
    rate: float = 0.02


SIZES = {
    "pocket-s": Size(hidden=64, inner=176, layers=6, heads=4, shared=2, tokens=16_000_000),
    "pocket-m": Size(hidden=128, inner=352, layers=7, heads=4, shared=2, tokens=12_000_000),
    "pocket-l": Size(hidden=192, inner=528, layers=6, heads=6, shared=3, tokens=12_000_000),
}


def tokenizer_of(texts: list[str]) -> PreTrainedTokenizerFast:
    """Returns a byte-level BPE that can encode any input, with special tokens for end and padding."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END, PAD],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token=END, pad_token=PAD, model_max_length=CONTEXT, clean_up_tokenization_spaces=False
    )


def prepare(work: Path) -> tuple[PreTrainedTokenizerFast, torch.Tensor, torch.Tensor]:
    """Returns the tokenizer and the token ids of the training and the held-out documents (every 40th)."""
    folder, packed = work / "tokenizer", work / "tokens.pt"
    if not packed.exists():
        texts = [json.loads(line)["text"] for line in (work / "corpus.jsonl").open(encoding="utf-8")]
        tokenizer = tokenizer_of([t for i, t in enumerate(texts) if i % HELD_OUT])
        tokenizer.save_pretrained(folder)
        ids = [[*row, tokenizer.eos_token_id] for row in tokenizer(texts).input_ids]
        data = [
            torch.tensor([t for i, row in enumerate(ids) if bool(i % HELD_OUT) is kept for t in row])
            for kept in (True, False)
        ]
        torch.save([part.to(torch.int16) for part in data], packed)
    check_tokenizer(folder / "tokenizer.json")
    train, held = torch.load(packed, weights_only=True)
    return PreTrainedTokenizerFast.from_pretrained(folder), train.long(), held.long()


def check_tokenizer(made: Path) -> None:
    """Checks that a tokenizer is the one that all models share.

    Raises:
        SystemExit: an existing model has another tokenizer, so this is not the corpus that it was trained on.
    """
    others = sorted((Path(__file__).parent / "models").glob("*/tokenizer.json"))
    differing = [path.parent.name for path in others if path.read_bytes() != made.read_bytes()]
    if differing:
        raise SystemExit(
            f"{made} differs from the tokenizer of {', '.join(differing)}: the models share one. Gather the corpus"
            " that they were trained on (corpus.py --as-card infra/demo/models/NAME/README.md), or remove them first"
        )


def model_of(size: Size, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Returns the untrained model of a size."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=size.hidden,
        intermediate_size=size.inner,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.shared,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def optimizers_of(model: LlamaForCausalLM, size: Size) -> list[torch.optim.Optimizer]:
    """Returns Muon for the layers' matrices and AdamW for the embedding and the norms."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    return [
        torch.optim.Muon(matrices, lr=size.rate, momentum=0.95, weight_decay=0.1),
        torch.optim.AdamW(others, lr=4e-3, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def rate_at(step: int, steps: int) -> float:
    """Returns the factor of the learning rate at a step."""
    warm_up, decay = max(1, int(WARM_UP * steps)), int(DECAY * steps)
    return min(1.0, (step + 1) / warm_up, (steps - step) / decay)


def batch_at(step: int, data: torch.Tensor) -> torch.Tensor:
    """Returns a step's (BATCH, CONTEXT + 1) token ids: every block once per epoch, with a new offset in each epoch."""
    blocks = (len(data) - CONTEXT - 1) // CONTEXT
    rows = []
    for i in range(step * BATCH, (step + 1) * BATCH):
        epoch, place = divmod(i, blocks)
        if epoch not in ORDER:
            ORDER.clear()
            draw = random.Random(SEED + epoch)
            ORDER[epoch] = (draw.sample(range(blocks), blocks), draw.randrange(CONTEXT))
        order, offset = ORDER[epoch]
        at = order[place] * CONTEXT + offset
        rows.append(data[at : at + CONTEXT + 1])
    return torch.stack(rows)


ORDER: dict[int, tuple[list[int], int]] = {}


def loss_of(model: LlamaForCausalLM, batch: torch.Tensor) -> torch.Tensor:
    """Returns the mean loss of a (rows, tokens) batch, in nats a token; bf16 arithmetic, fp32 weights."""
    with torch.autocast(batch.device.type, dtype=torch.bfloat16):
        logits = model(input_ids=batch[:, :-1], use_cache=False).logits
    return cross_entropy(logits.flatten(0, 1).float(), batch[:, 1:].flatten())


@torch.inference_mode()
def held_out_loss(model: LlamaForCausalLM, held: torch.Tensor) -> float:
    """Returns the mean loss on the held-out documents, in nats a token."""
    blocks = held[: (len(held) - 1) // CONTEXT * CONTEXT].view(-1, CONTEXT)
    model.eval()
    total = sum(loss_of(model, b).item() * len(b) for b in blocks.split(AT_ONCE))
    model.train()
    return total / len(blocks)


def pretrain(name: str, work: Path, folder: Path, tokens: int | None, stop_after: float) -> None:
    """Trains one size to its end, or for `stop_after` minutes; at the end writes model, tokenizer and card."""
    size = SIZES[name]
    tokenizer, data, held = prepare(work)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    data, held = data.to(device), held.to(device)
    torch.manual_seed(SEED)
    model = model_of(size, tokenizer).to(device)
    optimizers = optimizers_of(model, size)
    steps = (tokens or size.tokens) // (BATCH * CONTEXT)
    checkpoint = work / f"{name}.pt"
    first, seconds = 0, 0.0
    if checkpoint.exists():
        kept = torch.load(checkpoint, weights_only=True, map_location=device)
        if kept["steps"] != steps:
            raise SystemExit(f"{checkpoint} belongs to a run of {kept['steps']} steps, not {steps}: remove it first")
        first, seconds = kept["step"], kept["seconds"]
        model.load_state_dict(kept["model"])
        for optimizer, state in zip(optimizers, kept["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        print(f"{name}: resumes at step {first} of {steps}", flush=True)

    def save(step: int) -> None:
        state = {
            "step": step,
            "steps": steps,
            "seconds": seconds + time.monotonic() - started,
            "model": model.state_dict(),
            "optimizers": [o.state_dict() for o in optimizers],
        }
        torch.save(state, checkpoint.with_suffix(".new"))
        os.replace(checkpoint.with_suffix(".new"), checkpoint)

    stop_signals: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _: stop_signals.append(got))
    started = saved = time.monotonic()
    rates = [o.param_groups[0]["lr"] for o in optimizers] if not first else [size.rate, 4e-3]
    for step in range(first, steps):
        parts = batch_at(step, data).split(BATCH if device.type == "cuda" else AT_ONCE)
        for part in parts:
            loss = loss_of(model, part) / len(parts)
            loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, rate in zip(optimizers, rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate * rate_at(step, steps)
            optimizer.step()
            optimizer.zero_grad()
        now = time.monotonic()
        if (step + 1) % 50 == 0:
            speed = (step + 1 - first) * BATCH * CONTEXT / (now - started)
            left = (steps - step - 1) * BATCH * CONTEXT / speed / 60
            held_now = f", held out {held_out_loss(model, held):.3f}" if (step + 1) % 500 == 0 else ""
            progress = (
                f"loss {loss.item() * len(parts):.3f}{held_now}, {speed:,.0f} tokens a second, {left:.0f} minutes left"
            )
            print(f"{name}: step {step + 1} of {steps}, {progress}", flush=True)
        out_of_time = now - started > 60 * stop_after
        if stop_signals or out_of_time or now - saved > 120:
            save(step + 1)
            saved = now
            if stop_signals or out_of_time:
                raise SystemExit(f"{name}: stopped at step {step + 1} of {steps}; the same command resumes from here")
    save(steps)
    facts = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "tokens in the corpus": len(data),
        "tokens seen": steps * BATCH * CONTEXT,
        "steps": steps,
        "seed": SEED,
        "held-out loss": round(held_out_loss(model, held), 3),
        "held-out tokens": len(held),
        "minutes": round((seconds + time.monotonic() - started) / 60, 1),
        "machine": torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
    }
    folder.mkdir(parents=True, exist_ok=True)
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "README.md").write_text(card(name, size, facts, json.loads((work / "corpus.json").read_text())), "utf-8")
    print(json.dumps(facts))


def card(name: str, size: Size, facts: dict[str, Any], corpus: dict[str, Any]) -> str:
    """Returns the model card: what the model is, its training text with licences, and its loss."""
    table = "".join(
        f"| {key} | {value:,} |\n" if isinstance(value, int) else f"| {key} | {value} |\n"
        for key, value in facts.items()
    )
    sources = "".join(
        f"| {source} | {s['licence']} | {s['documents']:,} | {s['characters']:,} | `{s['sha256'][:16]}` |\n"
        for source, s in corpus["sources"].items()
    )
    overlap = sum(n for why, n in corpus["left_out"].items() if why.startswith("overlap"))
    return CARD.format(
        name=name,
        parameters=f"{facts['parameters']:,}",
        size=size,
        vocabulary=VOCABULARY,
        context=CONTEXT,
        table=table,
        sources=sources,
        rows=f"{corpus['scored_rows_checked']:,}",
        overlap=overlap,
        sha256=corpus["sha256"],
        held=HELD_OUT,
    )


CARD = """# {name}

A Llama of {parameters} parameters ({size.layers} layers, width {size.hidden}, context {context}) with a byte-level BPE
of {vocabulary:,} tokens that spells any input. Pretrained from random weights by `infra/demo/pretrain.py`; the text was
gathered by `infra/demo/corpus.py`. It exists so that the whole demonstration runs with nothing downloaded. It knows
how English is spelt and how sentences go, and little about the world: no base for serious work.

| fact | |
|---|---|
{table}
Loss is in nats a token, on every {held}th document, held out from training and from the tokenizer.

## What it read

Nothing that a benchmark scores: of all documents, {overlap} were left out because they equal a scored row or share
thirteen words in a row with one ({rows} rows checked). SHA-256 of the whole text: `{sha256}`.

| source | licence | documents | characters | SHA-256 |
|---|---|---|---|---|
{sources}"""

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description="Pretrains one of the demonstration's base models. Can be stopped and resumed."
    )
    parser.add_argument("name", choices=SIZES)
    parser.add_argument(
        "--work", type=Path, default=Path(__file__).parent / "pretraining", help="corpus and checkpoints"
    )
    parser.add_argument("--folder", type=Path, help="folder of the model (default: infra/demo/models/NAME)")
    parser.add_argument("--tokens", type=int, help="number of training tokens (default: that of the size)")
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="stop after so many minutes; run again to resume"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    target = arguments.folder or Path(__file__).parent / "models" / arguments.name
    pretrain(arguments.name, arguments.work, target, arguments.tokens, arguments.minutes)
