"""Adapters on a base: put on, saved in one canonical form, loaded again.

LoRA: Hu et al., 2021, https://arxiv.org/abs/2106.09685, as PEFT implements it.
PEFT's own writer differs from run to run (set order, metadata, absolute paths); `save` does not.
"""

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from components.errors import ModelError, problem
from components.folders import joined, read_json, write_json
from components.model.language_model import LanguageModel
from components.records import AttemptSpec

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"


def attach(lm: LanguageModel, spec: AttemptSpec) -> LanguageModel:
    """Returns the model with a fresh adapter whose update is zero; the base inside is wrapped in place.

    The matrices are drawn from `spec.seed`; the caller's random state is left as it was.

    Raises:
        ModelError: a target names no linear layer.
    """
    from peft import LoraConfig, get_peft_model

    _check_targets(lm, spec)
    config = LoraConfig(
        r=spec.rank,
        lora_alpha=spec.alpha,
        lora_dropout=spec.dropout,
        target_modules="all-linear" if spec.targets == ("all-linear",) else sorted(spec.targets),
        bias="none",
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(spec.seed)
        return replace(lm, model=get_peft_model(lm.model, config))


def _check_targets(lm: LanguageModel, spec: AttemptSpec) -> None:
    names = [name for name, module in lm.model.named_modules() if isinstance(module, torch.nn.Linear)]
    for target in spec.targets:
        if target == "all-linear" and spec.targets == ("all-linear",):
            continue
        if not any(name == target or name.endswith("." + target) for name in names):
            raise ModelError(
                problem(
                    "a target module matches nothing",
                    where=f"ladder: base {spec.base}, targets",
                    found=target,
                    wanted="one of " + joined(sorted({name.rpartition(".")[2] for name in names}), 20),
                    do="correct the rung's `targets`, or leave them out for all linear layers",
                )
            )


def trained_parameters(lm: LanguageModel) -> int:
    """Returns how many numbers are trained."""
    return sum(p.numel() for p in lm.model.parameters() if p.requires_grad)


def base_parameters(lm: LanguageModel) -> int:
    """Returns how many numbers the base has, without an adapter."""
    return sum(p.numel() for name, p in lm.model.named_parameters() if "lora_" not in name)


def save(lm: LanguageModel, folder: Path) -> None:
    """Writes the adapter's weights (fp32, sorted by name) and PEFT's settings into `folder`.

    The base is named as in params.yaml, never by where it lay; equal adapters give equal bytes.
    """
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    weights: dict[str, Any] = get_peft_model_state_dict(lm.model)
    tensors = {name: weights[name].detach().float().cpu().contiguous() for name in sorted(weights)}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    config = lm.model.peft_config["default"].to_dict()
    config |= {"base_model_name_or_path": lm.base.name, "revision": lm.base.revision or None, "inference_mode": True}
    plain = json.loads(json.dumps(config, default=_plain))
    if isinstance(plain.get("target_modules"), list):
        plain["target_modules"].sort()
    write_json(folder / CONFIG, plain)


def _plain(value: Any) -> Any:
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return str(getattr(value, "value", value))


def load(lm: LanguageModel, folder: Path) -> LanguageModel:
    """Returns the model with the adapter of `folder` on it, in evaluation mode.

    Raises:
        ModelError: a file is missing, or the weights are not those that the settings call for.
    """
    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
    from safetensors.torch import load_file

    try:
        config = read_json(folder / CONFIG)
        weights = load_file(folder / WEIGHTS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with torch.random.fork_rng():
                model = get_peft_model(lm.model, LoraConfig(**config))
            report = set_peft_model_state_dict(model, weights)
    except Exception as error:  # a damaged folder shows itself in many ways; each becomes one message here
        raise ModelError(
            problem(
                "an adapter can't be loaded",
                where=str(folder),
                found=f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}",
                wanted=f"{CONFIG} and {WEIGHTS} that fit base {lm.base}",
            )
        ) from None
    missing = [name for name in report.missing_keys if "lora_" in name]
    if missing or report.unexpected_keys:
        raise ModelError(
            problem(
                "an adapter does not fit its base",
                where=str(folder),
                found=f"{len(missing)} weights missing, {len(report.unexpected_keys)} unknown",
                wanted=f"the weights that {CONFIG} calls for on base {lm.base}",
            )
        )
    return replace(lm, model=model.to(lm.device).eval().requires_grad_(False))
