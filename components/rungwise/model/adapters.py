"""Adapters on a base: put on, saved in one canonical form, loaded again, merged into the base.

Most methods are PEFT's (https://huggingface.co/docs/peft). Three are not, and are saved in PEFT's form where it has
one: virtual tokens (prompt and prefix tuning), which PEFT's wrapper gives positions that depend on a batch's padding;
and the base's own weights (all of them, or the last layers'). PEFT's own writer differs from run to run (set order,
metadata, absolute paths); `save` does not.
"""

import json
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from rungwise.core.errors import ModelError, Problem, SettingsError
from rungwise.core.folders import joined, read_json, write_json
from rungwise.core.methods import METHODS
from rungwise.core.records import AttemptSpec
from rungwise.model.language_model import LanguageModel
from rungwise.model.virtual_tokens import VirtualTokens

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
VIRTUAL = ("prompt-tuning", "prefix-tuning")
"""Methods whose tokens stand at positions of the model's context."""
_OWN = "rungwise"
"""In the place of PEFT's type: an adapter that is some of the base's own weights."""


def attach(lm: LanguageModel, spec: AttemptSpec) -> LanguageModel:
    """Returns the model with a fresh adapter of `spec.method` that changes nothing yet; the base is wrapped in place.

    What is drawn at random is drawn from `spec.seed`; the caller's random state is left as it was. Trained numbers are
    fp32, whatever the base's type.

    Raises:
        ModelError: the architecture does not support the method, a target names no linear layer, a rank is larger than
            a layer is wide, or there are fewer layers than asked for.
    """
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(spec.seed)
        if spec.method in VIRTUAL:
            lm = with_room(lm, spec.tokens, f"ladder: base {spec.base}, method {spec.method}, `tokens`")
            model: Any = VirtualTokens(lm.model, spec.method, spec.tokens, sorted(lm.ordinary_tokens()))
        elif METHODS[spec.method].family == "full" or spec.method == "last-layers":
            model = _own_weights(lm, spec)
        else:
            model = _wrapped(lm, spec)
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()
    return replace(lm, model=model)


def with_room(lm: LanguageModel, tokens: int, where: str) -> LanguageModel:
    """Returns the model with the context that virtual tokens leave; raises ModelError where they leave none."""
    left = lm.context_tokens - tokens
    if left < 2:
        raise ModelError(
            Problem(
                "virtual tokens leave no room for a row",
                where=where,
                found=f"{tokens} of a context of {lm.context_tokens}",
                wanted="room for the rows behind them",
                do="lower the rung's `tokens`",
            )
        )
    return replace(lm, context_tokens=left)


def _wrapped(lm: LanguageModel, spec: AttemptSpec) -> Any:
    from peft import get_peft_model

    if "targets" in METHODS[spec.method].settings:
        _check_targets(lm, spec)
    config = _peft_config(lm, spec)
    try:
        model = get_peft_model(lm.model, config)
    except (ValueError, KeyError, AttributeError, TypeError, NotImplementedError) as error:  # as its methods go
        raise _unsupported(lm, spec, str(error)) from None
    if spec.method == "sparse":
        torch.sparse.check_sparse_tensor_invariants.disable()  # as it is by default, said once
    if spec.method == "pissa":
        start = {n: p.detach().clone() for n, p in model.named_parameters() if "lora_" in n}
        model.start_weights = start  # what the base lost at the start has to come off again at the end
    return model


def _unsupported(lm: LanguageModel, spec: AttemptSpec, found: str) -> ModelError:
    return ModelError(
        Problem(
            "a method can't be used with this base",
            where=f"ladder: base {spec.base}, architecture {getattr(lm.model.config, 'model_type', '?')}",
            found=f"{spec.method}: {' '.join(found.split())[:200]}",
            wanted="an architecture that PEFT supports for it",
            do="choose another method, such as `lora`, which fits all",
        )
    )


def _peft_config(lm: LanguageModel, spec: AttemptSpec) -> Any:
    import peft

    targets: Any = "all-linear" if spec.targets == ("all-linear",) else sorted(spec.targets)
    lora = {"r": spec.rank, "lora_alpha": spec.alpha, "lora_dropout": spec.dropout, "target_modules": targets}
    n_layers = len(decoder_layers(lm.model))
    if spec.layers > n_layers:
        raise _too_many_layers(spec, n_layers)
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
            "a base has fewer layers than are to be trained",
            where=f"ladder: base {spec.base}",
            found=f"{n_layers} layers",
            wanted=f"`layers` ({spec.layers}) at most that",
            do="lower the rung's `layers`",
        )
    )


def decoder_layers(model: Any) -> list[Any]:
    """Returns a causal language model's decoder layers, the first one first."""
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
        met = {n: module for n, module in linear.items() if n == target or n.endswith("." + target)}
        if not met:
            raise ModelError(
                Problem(
                    "a target module matches nothing",
                    where=f"ladder: base {spec.base}, targets",
                    found=target,
                    wanted="one of " + joined(sorted({name.rpartition(".")[2] for name in linear}), 20),
                    do="correct the rung's `targets`, or leave them out for all linear layers",
                )
            )
        chosen |= met
    narrow = [n for n, module in chosen.items() if spec.rank > min(module.in_features, module.out_features)]
    if narrow and spec.method != "vera":  # its matrices are drawn once and not trained: they may be wider
        width = min(min(chosen[n].in_features, chosen[n].out_features) for n in narrow)
        raise ModelError(
            Problem(
                "a rank is larger than a layer is wide",
                where=f"ladder: base {spec.base}, {joined(sorted(narrow), 3)}",
                found=f"rank {spec.rank}",
                wanted=f"{width} at most",
                do="lower the rung's `rank`, or name wider `targets`",
            )
        )


def trained_parameters(lm: LanguageModel) -> int:
    """Returns how many numbers are trained."""
    return sum(p.numel() for p in lm.model.parameters() if p.requires_grad)


def base_parameters(lm: LanguageModel) -> int:
    """Returns how many numbers a base has on which no adapter stands yet."""
    return sum(p.numel() for p in lm.model.parameters())


def trained_weights(lm: LanguageModel) -> dict[str, torch.Tensor]:
    """Returns name -> trained numbers, in order of their names; they are the model's own, not copies."""
    return {name: p for name, p in sorted(lm.model.named_parameters()) if p.requires_grad}


def save(lm: LanguageModel, spec: AttemptSpec, folder: Path) -> None:
    """Writes the adapter's weights (fp32, sorted by name) and its settings into `folder`.

    The base is named as in params.yaml, never by where it lay; equal adapters give equal bytes. Where a model's numbers
    are shared out over processes, all of them have to call this.
    """
    from safetensors.torch import save_file

    weights, config = _state(lm, spec)
    tensors = {name: _whole(weights[name]).cpu().contiguous() for name in sorted(weights)}
    tensors = {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    config |= {"base_model_name_or_path": lm.base.name, "revision": lm.base.revision or None, "inference_mode": True}
    plain = json.loads(json.dumps(config, default=_plain))
    for name, value in plain.items():
        if name in ("target_modules", "feedforward_modules") and isinstance(value, list):
            plain[name] = sorted(value)
    write_json(folder / CONFIG, plain)


def _whole(weight: torch.Tensor) -> torch.Tensor:
    """Returns the numbers themselves, gathered from all processes where FSDP holds shards of them."""
    gather = getattr(weight, "full_tensor", None)
    found: torch.Tensor = (gather() if gather else weight).detach()
    return found


def _state(lm: LanguageModel, spec: AttemptSpec) -> tuple[Mapping[str, torch.Tensor], dict[str, Any]]:
    from peft import get_peft_model_state_dict

    if isinstance(lm.model, VirtualTokens):
        return lm.model.state(), lm.model.settings()
    if METHODS[spec.method].family == "full" or spec.method == "last-layers":
        return trained_weights(lm), {"peft_type": _OWN, "method": spec.method, "layers": spec.layers}
    weights = dict(get_peft_model_state_dict(lm.model, save_embedding_layers=False))
    config = lm.model.peft_config["default"].to_dict()
    if spec.method == "pissa":
        return _as_lora(weights, lm.model.start_weights, config)
    return weights, config


def _as_lora(
    weights: dict[str, torch.Tensor], start: Mapping[str, torch.Tensor], config: dict[str, Any]
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Returns PiSSA's adapter as plain LoRA of twice the rank on the untouched base: B A less the first B A."""
    found = {}
    for name, value in weights.items():
        first = start[name.replace(".weight", ".default.weight")].to(value)
        is_a = ".lora_A." in name
        found[name] = torch.cat([value, first], 0) if is_a else torch.cat([value, -first], 1)
    return found, config | {
        "r": 2 * config["r"],
        "lora_alpha": 2 * config["lora_alpha"],
        "init_lora_weights": True,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return str(getattr(value, "value", value))


def load(lm: LanguageModel, folder: Path) -> LanguageModel:
    """Returns the model with the adapter of `folder` on it, in evaluation mode.

    Raises:
        ModelError: a file is missing, or the weights are not those that the settings call for.
    """
    from safetensors.torch import load_file

    try:
        config = read_json(folder / CONFIG)
        weights = load_file(folder / WEIGHTS)
        with warnings.catch_warnings(), torch.random.fork_rng():
            warnings.simplefilter("ignore")
            model, missing, unknown = _with_weights(lm, config, weights)
    except Exception as error:  # a damaged folder shows itself in many ways; each becomes one message here
        raise ModelError(
            Problem(
                "an adapter can't be loaded",
                where=str(folder),
                found=f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}",
                wanted=f"{CONFIG} and {WEIGHTS} as they were written for base {lm.base}",
            )
        ) from None
    if missing or unknown:
        raise ModelError(
            Problem(
                "an adapter does not fit its base",
                where=str(folder),
                found=f"{missing} weights missing, {unknown} unknown",
                wanted=f"the weights that {CONFIG} calls for on base {lm.base}",
            )
        )
    if isinstance(model, VirtualTokens):
        lm = with_room(lm, model.n, str(folder))
    return replace(lm, model=model.to(lm.device).eval().requires_grad_(False))


def _with_weights(lm: LanguageModel, config: dict[str, Any], weights: dict[str, torch.Tensor]) -> tuple[Any, int, int]:
    """Returns the model, and how many weights were missing and how many unknown."""
    import peft
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    kind = config["peft_type"]
    if kind == _OWN:
        own = dict(lm.model.named_parameters())
        layers = decoder_layers(lm.model)[-config["layers"] :] if config["layers"] else [lm.model]
        wanted = {id(p) for part in layers for p in part.parameters()}
        missing = {n for n, p in own.items() if id(p) in wanted} - set(weights)
        for name, value in weights.items():
            if name in own:
                own[name].data.copy_(value)  # raises where the shapes differ
        return lm.model, len(missing), len(set(weights) - set(own))
    if kind in ("PROMPT_TUNING", "PREFIX_TUNING"):
        return VirtualTokens.of(lm.model, config, weights), 0, 0
    settings = PEFT_TYPE_TO_CONFIG_MAPPING[peft.PeftType(kind)](**config)
    model = peft.get_peft_model(lm.model, settings)
    if kind == "SHIRA":
        _check_indices(model, weights)
    fresh = set(peft.get_peft_model_state_dict(model, save_embedding_layers=False))
    peft.set_peft_model_state_dict(model, weights)
    return model, len(fresh - set(weights)), len(set(weights) - fresh)


def _check_indices(model: Any, weights: Mapping[str, torch.Tensor]) -> None:
    """Raises ValueError where an entry stands outside its matrix: torch would write there unchecked."""
    torch.sparse.check_sparse_tensor_invariants.disable()  # as it is by default: they are checked here, once
    for name, module in model.named_modules():
        indices_2N = weights.get(f"{name}.shira_indices")
        if indices_2N is not None and hasattr(module, "shira_weight"):
            limits_21 = torch.tensor([[module.out_features], [module.in_features]])
            if bool(((indices_2N < 0) | (indices_2N >= limits_21)).any()):
                raise ValueError(f"entries of {name} stand outside its matrix")


def merged(lm: LanguageModel, spec: AttemptSpec) -> LanguageModel:
    """Returns the model with the adapter written into the base's weights, which are changed in place.

    Raises:
        SettingsError: the method can't be merged.
    """
    if not METHODS[spec.method].merges:
        able = joined([name for name, method in METHODS.items() if method.merges], 20)
        raise SettingsError(
            Problem("an adapter can't be merged into its base", found=f"method {spec.method}", wanted=f"one of {able}")
        )
    if METHODS[spec.method].family == "full" or spec.method == "last-layers":
        return lm
    for module in lm.model.modules() if spec.method == "value-bias" else ():
        if hasattr(module, "beft_bias") and module.base_layer.bias is None:
            zeros = torch.zeros(module.base_layer.out_features, dtype=lm.model.dtype, device=lm.device)
            module.base_layer.bias = torch.nn.Parameter(zeros, requires_grad=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return replace(lm, model=lm.model.merge_and_unload().eval())
