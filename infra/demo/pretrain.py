"""Makes infra/demo/models/pocket-xs: a small Llama, pretrained on the docstrings of Python's standard library.

It exists so that the whole path runs with nothing downloaded. `python infra/demo/pretrain.py --minutes 20` on a
CPU; the model card beside the weights says what came out. The text is the documentation that ships with the
interpreter that runs this script (Python Software Foundation License); nothing in it is scored anywhere.
"""

import argparse
import ast
import hashlib
import json
import math
import random
import sysconfig
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SEED, CONTEXT, BATCH, HELD_OUT = 20, 256, 32, 20
END = "<|end|>"


def docstrings() -> list[str]:
    """Returns the standard library's docstrings of 80 characters or more, each once, in the order of the files."""
    texts: dict[str, None] = {}
    for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
        if "site-packages" in path.parts or "test" in path.parts:
            continue
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and (text := ast.get_docstring(node)):
                if len(text) >= 80:
                    texts[text] = None
    return list(texts)


def tokenizer_of(texts: list[str]) -> PreTrainedTokenizerFast:
    """Returns a byte-level BPE of 1,024 tokens that spells any input."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=1024, special_tokens=[END], initial_alphabet=alphabet, show_progress=False)
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=END, pad_token=END, model_max_length=CONTEXT)


def pretrain(minutes: float, folder: Path) -> None:
    """Trains for the given time and writes model, tokenizer and card."""
    torch.manual_seed(SEED)
    texts = docstrings()
    random.Random(SEED).shuffle(texts)
    tokenizer = tokenizer_of(texts)
    ids = [[*t, tokenizer.eos_token_id] for t in tokenizer(texts).input_ids]
    cut = len(ids) // HELD_OUT
    held = torch.tensor([t for row in ids[:cut] for t in row])
    data = torch.tensor([t for row in ids[cut:] for t in row])
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=96,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=3,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config)
    weights = list(model.parameters())
    optimizer = torch.optim.AdamW(weights, lr=4e-3, betas=(0.9, 0.95), weight_decay=0.1)
    draw = torch.Generator().manual_seed(SEED)
    started, step = time.monotonic(), 0
    while (share := (time.monotonic() - started) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 4e-3 * min(1.0, (step + 1) / 100) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * share)))
        at = torch.randint(0, len(data) - CONTEXT, (BATCH,), generator=draw).tolist()
        batch = torch.stack([data[i : i + CONTEXT] for i in at])
        loss = loss_of(model, batch)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        step += 1
        if step % 50 == 0:
            print(f"step {step}, {share:.0%} of the time, loss {loss.item():.3f}", flush=True)
    model.eval()
    with torch.inference_mode():
        blocks = held[: len(held) // CONTEXT * CONTEXT].view(-1, CONTEXT)
        held_loss = sum(loss_of(model, b).item() * len(b) for b in blocks.split(BATCH)) / len(blocks)
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    facts = {
        "parameters": sum(p.numel() for p in weights),
        "tokens_in_corpus": len(data),
        "tokens_seen": step * BATCH * CONTEXT,
        "steps": step,
        "seed": SEED,
        "corpus_sha256": hashlib.sha256("\0".join(texts).encode()).hexdigest(),
        "held_out_loss": round(held_loss, 3),
        "python": sysconfig.get_python_version(),
    }
    card = "".join(f"- {name}: {value}\n" for name, value in facts.items())
    (folder / "README.md").write_text(f"{CARD}\n{card}", encoding="utf-8")
    print(json.dumps(facts))


def loss_of(model: LlamaForCausalLM, batch: torch.Tensor) -> torch.Tensor:
    """Returns the mean loss of a (rows, tokens) batch, in nats a token."""
    logits = model(input_ids=batch, use_cache=False).logits[:, :-1]
    return cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())


CARD = """# pocket-xs

A Llama of about half a million parameters with a byte-level BPE of 1,024 tokens, pretrained from random weights
by `infra/demo/pretrain.py` on the docstrings of Python's standard library (Python Software Foundation License).
It knows how English is spelt and not much else: it is the cheapest base of the demonstration, for running the
whole path with nothing downloaded, and no base for serious work. Loss in nats a token, on every twentieth
docstring, held out.
"""

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    pretrain(arguments.minutes, Path(__file__).parent / "models" / "pocket-xs")
