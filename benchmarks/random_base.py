"""What the GPU benchmark trains: models with random weights, rows of random tokens, LoRA on all linear layers."""

import random
from dataclasses import dataclass
from typing import Any, Final

SHAPES: Final = {
    "0.5B": {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14},
    "1.5B": {"hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12},
    "tiny": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4},
}
"""Name -> the settings in which Qwen's configs differ."""
KEY_HEADS, CONTEXT, RANK, RATE = 2, 4096, 16, 1e-4


@dataclass(frozen=True)
class Size:
    """Sizes of a training run."""

    tokens: int = 512
    """Of the longest row, prompt and answer."""
    rows: int = 16
    """Of a step."""
    steps: int = 24
    vocabulary: int = 151_936


def config_of(shape: dict[str, int], size: Size) -> Any:
    """Returns the config of a model of that shape."""
    from transformers import Qwen2Config

    return Qwen2Config(
        vocab_size=size.vocabulary, num_key_value_heads=KEY_HEADS, max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None, eos_token_id=0, pad_token_id=None, **shape,
    )  # fmt: skip


def made(shape: dict[str, int], size: Size, precision: str = "bf16", *, is_plain: bool = False) -> Any:
    """Returns a model with random weights, ready for the training loop; `is_plain`: as transformers made it."""
    import torch
    from transformers import Qwen2ForCausalLM

    from rungwise.core.records import Base
    from rungwise.model.kernels.last_layer import shorten
    from rungwise.model.language_model import LanguageModel, device_name

    device = device_name()
    torch.manual_seed(0)
    with torch.device(device):
        kind = torch.bfloat16 if precision == "bf16" else torch.float32
        model = Qwen2ForCausalLM(config_of(shape, size)).to(kind).eval().requires_grad_(False)
    if not is_plain:
        shorten(model)
    return LanguageModel(Base("random"), "", model, None, (), (), 0, "plain", CONTEXT, device)


def rows_of(size: Size, answer: int) -> list[Any]:
    """Returns four steps' rows of random tokens; the shortest has at least 80 % of the length of the longest."""
    from rungwise.training.batches import TokenRow

    draw = random.Random(1)

    def tokens(n: int) -> tuple[int, ...]:
        return tuple(draw.randrange(1, size.vocabulary) for _ in range(n))

    lengths = [size.tokens - draw.randrange(max(1, size.tokens // 5)) for _ in range(size.rows * 4)]
    return [TokenRow(tokens(max(1, n - answer)), (*tokens(answer - 1), 0)) for n in lengths]


def spec_for(size: Size, **more: Any) -> Any:
    """Returns the settings of LoRA on all linear layers, with a constant learning rate."""
    from rungwise.core.records import AnswerForm, AttemptSpec, Base

    given = {
        "rank": RANK,
        "steps": size.steps,
        "batch_size": size.rows,
        "learning_rate": RATE,
        "warmup_share": 0.0,
        "schedule": "constant",
        "precision": "bf16",
    }
    return AttemptSpec(Base("random"), "lora", "{x}", AnswerForm("text"), **{**given, **more})


def trained_by_trl(
    shape: dict[str, int], size: Size, rows: list[Any], spec: Any, *, is_packed: bool, prepared: Any = None
) -> dict[str, Any]:
    """Trains the same model from the same fresh adapter with TRL; returns what `peer.train_trl` returns.

    Packed rows are as long as half a step, and a step has as many of them as contain about as many tokens as ours.
    `prepared` is called after the model is made.
    """
    from benchmarks import peer
    from rungwise.model.adapters import attach

    lm = attach(made(shape, size, spec.precision, is_plain=True), spec)
    if prepared:
        prepared()
    length = size.tokens * max(1, size.rows // 2) if is_packed else size.tokens
    mean = sum(row.length for row in rows) / len(rows)
    return peer.train_trl(
        lm.model,
        peer.end_tokenizer(),
        [(row.prompt, row.answer) for row in rows],
        size.steps,
        rate=RATE,
        length=length,
        rows_per_step=max(1, round(size.rows * mean / length)) if is_packed else size.rows,
        is_packed=is_packed,
        precision=spec.precision,
        is_checkpointed=spec.checkpointing,
        use_cpu=not lm.device.startswith("cuda"),
    )
