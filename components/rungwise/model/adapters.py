"""Adapters on a base: attached fresh, with their trainable parameters.

Most methods are PEFT's (https://huggingface.co/docs/peft). The others are virtual tokens (prompt and prefix tuning),
as PEFT's wrapper gives them positions that depend on a batch's padding, and training the base's own weights (all of
them, or the last layers'). `model.adapter_files` saves and loads them.
"""

import math
import warnings
from dataclasses import replace
from typing import Any

import torch

from rungwise.core.errors import ModelError, Problem
from rungwise.core.folders import joined
from rungwise.core.methods import METHODS
from rungwise.core.records import AttemptSpec
from rungwise.core.texts import number_of
from rungwise.model.language_model import LanguageModel
from rungwise.model.virtual_tokens import VirtualTokens


def attach(lm: LanguageModel, spec: AttemptSpec) -> LanguageModel:
    """Returns the model with a fresh adapter of `spec.method` that changes nothing yet; the base is wrapped in place.

    Random values come from `spec.seed`; the caller's random state does not change. Trainable parameters are fp32,
    whatever the type of the base.

    Raises:
        ModelError: the architecture does not support the method, a target matches no linear layer, a rank exceeds a
            layer's width, or the base has fewer layers than the spec trains.
    """
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(spec.seed)
        if METHODS[spec.method].takes_positions:
            lm = with_room(lm, spec.tokens, f"ladder: base {spec.base}, method {spec.method}, `tokens`")
            model: Any = VirtualTokens(lm.model, spec.method, spec.tokens, sorted(lm.ordinary_tokens()))
        elif has_own_weights(spec.method):
            model = _own_weights(lm, spec)
        else:
            model = _wrapped(lm, spec)
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()
    return replace(lm, model=model)


def has_own_weights(method: str) -> bool:
    """Whether the method trains the base's own weights and adds none: all of them, or those of the last layers."""
    return METHODS[method].trains_matrices


def with_room(lm: LanguageModel, tokens: int, where: str) -> LanguageModel:
    """Returns the model with the context that virtual tokens leave for rows.

    Raises:
        ModelError: they leave less than two tokens.
    """
    left = lm.context_tokens - tokens
    if left < 2:
        raise ModelError(
            Problem(
                "virtual tokens leave no room for a row",
                where=where,
                found=f"{tokens} of a context of {lm.context_tokens}",
                wanted="at least two tokens for a row",
                do="lower the rung's `tokens`",
            )
        )
    return replace(lm, context_tokens=left)


def _wrapped(lm: LanguageModel, spec: AttemptSpec) -> Any:
    from peft import get_peft_model

    if "targets" in METHODS[spec.method].settings:
        _check_targets(lm, spec)
    n_layers = len(decoder_layers(lm.model))
    if spec.layers > n_layers:
        raise _too_many_layers(spec, n_layers)
    config = peft_config(spec)
    try:
        model = get_peft_model(lm.model, config)
    # PEFT's methods raise any of these
    except (ValueError, KeyError, AttributeError, TypeError, NotImplementedError) as error:
        raise _unsupported(lm, spec, str(error)) from None
    if spec.method == "sparse":
        torch.sparse.check_sparse_tensor_invariants.disable()  # the default; set explicitly, as torch warns otherwise
    if spec.method == "pissa":
        start = {n: p.detach().clone() for n, p in model.named_parameters() if "lora_" in n}
        model.start_weights = start  # to restore the base when the adapter is saved
    return model


def _unsupported(lm: LanguageModel, spec: AttemptSpec, found: str) -> ModelError:
    return ModelError(
        Problem(
            "a method can't be used with this base",
            where=f"ladder: base {spec.base}, architecture {getattr(lm.model.config, 'model_type', '?')}",
            found=f"{spec.method}: {' '.join(found.split())[:200]}",
            wanted="an architecture that PEFT supports for it",
            do="choose another method, such as `lora`, which all architectures support",
        )
    )


def peft_config(spec: AttemptSpec) -> Any:
    """Returns PEFT's settings of a fresh adapter, for the methods that are PEFT's."""
    import peft

    targets: Any = "all-linear" if spec.targets == ("all-linear",) else sorted(spec.targets)
    lora = {"r": spec.rank, "lora_alpha": spec.alpha, "lora_dropout": spec.dropout, "target_modules": targets}
    made: dict[str, Any] = {
        "lora": lambda: peft.LoraConfig(**lora, bias="none"),
        "rslora": lambda: peft.LoraConfig(**lora, bias="none", use_rslora=True),
        "dora": lambda: peft.LoraConfig(**lora, bias="none", use_dora=True),
        "pissa": lambda: peft.LoraConfig(**lora, bias="none", init_lora_weights="pissa"),
        "vera": lambda: peft.VeraConfig(
            r=spec.rank, vera_dropout=spec.dropout, target_modules=targets, projection_prng_key=spec.seed
        ),
        "ia3": peft.IA3Config,
        "llama-adapter": lambda: peft.AdaptionPromptConfig(adapter_len=spec.tokens, adapter_layers=spec.layers),
        "layer-norm": peft.LNTuningConfig,
        "value-bias": peft.BeftConfig,
        "sparse": lambda: peft.ShiraConfig(r=spec.rank, target_modules=targets, random_seed=spec.seed),
    }
    config = made[spec.method]()
    config.task_type = peft.TaskType.CAUSAL_LM
    return config


def _too_many_layers(spec: AttemptSpec, n_layers: int) -> ModelError:
    return ModelError(
        Problem(
            "a base has fewer layers than the rung trains",
            where=f"ladder: base {spec.base}",
            found=number_of(n_layers, "layer"),
            wanted=f"`layers` ({spec.layers}) at most that",
            do="lower the rung's `layers`",
        )
    )


def decoder_layers(model: Any) -> list[Any]:
    """Returns a causal language model's decoder layers in order."""
    lists = [list(m) for m in model.modules() if isinstance(m, torch.nn.ModuleList)]
    return max(lists, key=len) if lists else []


def _own_weights(lm: LanguageModel, spec: AttemptSpec) -> Any:
    parts = [lm.model]
    if spec.method == "last-layers":
        layers = decoder_layers(lm.model)
        if spec.layers > len(layers):
            raise _too_many_layers(spec, len(layers))
        parts = layers[-spec.layers :]
    for part in parts:
        part.requires_grad_(True)
    return lm.model


def _check_targets(lm: LanguageModel, spec: AttemptSpec) -> None:
    linear = {name: module for name, module in lm.model.named_modules() if isinstance(module, torch.nn.Linear)}
    output = lm.model.get_output_embeddings()
    chosen = {}
    for target in spec.targets:
        if target == "all-linear" and spec.targets == ("all-linear",):
            chosen = {name: module for name, module in linear.items() if module is not output}
            continue
        matching = {n: module for n, module in linear.items() if n == target or n.endswith("." + target)}
        if not matching:
            raise ModelError(
                Problem(
                    "a target module matches nothing",
                    where=f"ladder: base {spec.base}, targets",
                    found=target,
                    wanted="one of " + joined(sorted({name.rpartition(".")[2] for name in linear}), 20),
                    do="correct the rung's `targets`, or leave them out for all linear layers",
                )
            )
        chosen |= matching
    narrow = [n for n, module in chosen.items() if spec.rank > min(module.in_features, module.out_features)]
    if narrow and not METHODS[spec.method].shares_matrices:  # its random matrices are not trained and may be wider
        width = min(min(chosen[n].in_features, chosen[n].out_features) for n in narrow)
        raise ModelError(
            Problem(
                "a rank exceeds the width of a layer",
                where=f"ladder: base {spec.base}, {joined(sorted(narrow), 3)}",
                found=f"rank {spec.rank}",
                wanted=f"{width} at most",
                do="lower the rung's `rank`, or name wider `targets`",
            )
        )


def trained_parameters(lm: LanguageModel) -> int:
    """Returns the number of trainable parameters."""
    return sum(p.numel() for p in lm.model.parameters() if p.requires_grad)


def base_parameters(lm: LanguageModel) -> int:
    """Returns the number of parameters of a base without an adapter, whatever the precision of its weights.

    A weight in 4 bits holds two parameters in each element; its state has the shape from before.
    """
    return sum(math.prod(p.quant_state.shape) if _is_packed(p) else p.numel() for p in lm.model.parameters())


def _is_packed(weight: torch.Tensor) -> bool:
    return getattr(weight, "quant_state", None) is not None


def trained_weights(lm: LanguageModel) -> dict[str, torch.Tensor]:
    """Returns name -> trainable parameters, sorted by name; they are the model's own tensors, not copies."""
    return {name: p for name, p in sorted(lm.model.named_parameters()) if p.requires_grad}
