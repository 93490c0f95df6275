"""TRL's SFTTrainer as the peer of the training benchmarks: one training run of a model with a fresh adapter."""

import logging
import tempfile
import time
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Final

PARTS: Final = ("trl", "datasets")
"""What the peer requires besides the training libraries."""


def missing() -> str:
    """Returns why the peer can't run, or an empty string."""
    absent = [name for name in PARTS if not find_spec(name)]
    return f"not installed: {', '.join(absent)}" if absent else ""


def end_tokenizer() -> Any:
    """Returns a tokenizer with an end token only: the trainer requires one, also where rows are tokens already."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"<|end|>": 0}, unk_token="<|end|>"))
    return PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<|end|>", pad_token="<|end|>")


def train_trl(
    model: Any,
    tokenizer: Any,
    rows: Sequence[Sequence[Sequence[int]]],
    steps: int,
    *,
    rate: float,
    length: int,
    rows_per_step: int,
    is_packed: bool,
    precision: str = "fp32",
    is_checkpointed: bool = False,
    use_cpu: bool = True,
) -> dict[str, Any]:
    """Trains an adapter; returns the times at which the steps ended, the losses and the counts of tokens.

    Args:
        model: a PEFT model with a fresh adapter.
        tokenizer: gives the padding token.
        rows: prompt and answer of each row as tokens.
        steps: number of optimizer steps.
        rate: constant learning rate.
        length: tokens of the longest row, or of a packed row.
        rows_per_step: rows, or packed rows, of one step.
        is_packed: whether rows are packed (best fit, without padding; attention stays within a row).
        precision: fp32, or bf16 for autocast.
        is_checkpointed: whether activations are checkpointed.
        use_cpu: whether to train on the CPU though there may be a GPU.
    """
    import torch
    from accelerate.state import AcceleratorState
    from datasets import Dataset, disable_progress_bars
    from transformers import PrinterCallback, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    ends: list[float] = []
    losses: list[float] = []
    counts: dict[str, list[Any]] = {"tokens": [], "targets": []}

    def note_time(*_: Any, **__: Any) -> None:
        if not use_cpu:
            torch.cuda.synchronize()
        ends.append(time.perf_counter())

    class Watch(TrainerCallback):
        on_train_begin = on_step_end = staticmethod(note_time)

        def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
            if "loss" in logs:
                losses.append(float(logs["loss"]))

    disable_progress_bars()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as out, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arguments = SFTConfig(
            output_dir=out,
            max_steps=steps,
            per_device_train_batch_size=rows_per_step,
            learning_rate=rate,
            lr_scheduler_type="constant",
            warmup_steps=0,
            weight_decay=0.0,
            max_grad_norm=1.0,
            max_length=length,
            packing=is_packed,
            completion_only_loss=True,
            gradient_checkpointing=is_checkpointed,
            bf16=precision == "bf16",
            use_cpu=use_cpu,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            dataloader_num_workers=0,
        )
        data = Dataset.from_dict(
            {
                "input_ids": [[*prompt, *answer] for prompt, answer in rows],
                "completion_mask": [[0] * len(prompt) + [1] * len(answer) for prompt, answer in rows],
            }
        )
        trainer = SFTTrainer(
            model=model, args=arguments, train_dataset=data, processing_class=tokenizer, callbacks=[Watch()]
        )
        trainer.remove_callback(PrinterCallback)
        inner = trainer.compute_loss

        def counted(model: Any, inputs: Any, *rest: Any, **more: Any) -> Any:
            # summed after the run: reading a count from a GPU would stop the step
            counts["targets"].append((inputs["labels"] != -100).sum())
            mask = inputs.get("attention_mask")
            counts["tokens"].append(torch.tensor(inputs["input_ids"].numel()) if mask is None else mask.sum())
            return inner(model, inputs, *rest, **more)

        trainer.compute_loss = counted
        trainer.train()
    logging.disable(logging.NOTSET)
    AcceleratorState._reset_state(reset_partial_state=True)  # as the trainer does first: autocast is a process's state
    return {"ends": ends, "losses": losses, **{name: sum(int(n) for n in seen) for name, seen in counts.items()}}
