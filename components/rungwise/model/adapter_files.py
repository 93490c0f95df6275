"""Adapters as files: saved in one canonical form, loaded again, merged into the base.

Virtual tokens are saved in PEFT's form. PEFT's own writer is not used, as its files differ from run to run (order of
sets, metadata, absolute paths).
"""

import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch

from rungwise.core.errors import ModelError, Problem, SettingsError
from rungwise.core.folders import joined, read_json, write_json
from rungwise.core.methods import METHODS
from rungwise.core.records import AttemptSpec
from rungwise.core.texts import number_of
from rungwise.model.adapters import decoder_layers, has_own_weights, peft_config, trained_weights, with_room
from rungwise.model.language_model import LanguageModel
from rungwise.model.virtual_tokens import VirtualTokens, settings_of

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
_OWN = "rungwise"
"""Takes the place of PEFT's type for an adapter that consists of the base's own weights."""
_FROM_BASE: Final = ("target_modules", "feedforward_modules")
"""Settings that PEFT fills in with the names of the base's modules."""


def save(lm: LanguageModel, spec: AttemptSpec, folder: Path) -> None:
    """Writes the adapter's weights (fp32, sorted by name) and its settings into `folder`.

    Equal adapters give equal bytes: the base is named as in params.yaml, not by its folder. If FSDP shards the model,
    every process must call this function.
    """
    from safetensors.torch import save_file

    weights, config = weights_of(lm, spec)
    tensors = {name: _gathered(weights[name]).cpu().contiguous() for name in sorted(weights)}
    tensors = {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    write_json(folder / CONFIG, _written(config, spec))


def _written(config: Mapping[str, Any], spec: AttemptSpec) -> dict[str, Any]:
    """Returns an adapter's settings as its file holds them."""
    assert spec.base is not None  # only a language model has an adapter
    named = {"base_model_name_or_path": spec.base.name, "revision": spec.base.revision or None, "inference_mode": True}
    plain: dict[str, Any] = json.loads(json.dumps({**config, **named}, default=_plain))
    for name, value in plain.items():
        if name in _FROM_BASE and isinstance(value, list):
            plain[name] = sorted(value)
    return plain


def _gathered(weight: torch.Tensor) -> torch.Tensor:
    """Returns the whole tensor, gathered from all processes if FSDP shards it."""
    gather = getattr(weight, "full_tensor", None)
    whole: torch.Tensor = (gather() if gather else weight).detach()
    return whole


def weights_of(lm: LanguageModel, spec: AttemptSpec) -> tuple[Mapping[str, torch.Tensor], dict[str, Any]]:
    """Returns the weights and the settings of an adapter under the names of its files."""
    from peft import get_peft_model_state_dict

    if isinstance(lm.model, VirtualTokens):
        return lm.model.state(), lm.model.settings()
    if has_own_weights(spec.method):
        return trained_weights(lm), _own_settings(spec)
    weights = dict(get_peft_model_state_dict(lm.model, save_embedding_layers=False))
    config = lm.model.peft_config["default"].to_dict()
    if spec.method == "pissa":
        return _as_lora(weights, lm.model.start_weights), _doubled(config)
    return weights, config


def _own_settings(spec: AttemptSpec) -> dict[str, Any]:
    return {"peft_type": _OWN, "method": spec.method, "layers": spec.layers}


def _as_lora(weights: dict[str, torch.Tensor], start: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Returns PiSSA's adapter as LoRA of twice the rank on the original base: B A minus the initial B A."""
    doubled = {}
    for name, value in weights.items():
        first = start[name.replace(".weight", ".default.weight")].to(value)
        is_a = ".lora_A." in name
        doubled[name] = torch.cat([value, first], 0) if is_a else torch.cat([value, -first], 1)
    return doubled


def _doubled(config: dict[str, Any]) -> dict[str, Any]:
    """Returns the settings of PiSSA's adapter as LoRA of twice the rank."""
    return config | {"r": 2 * config["r"], "lora_alpha": 2 * config["lora_alpha"], "init_lora_weights": True}


def check_config(path: Path, spec: AttemptSpec) -> None:
    """Checks that the settings of an adapter from elsewhere are those that `save` writes for `spec`.

    PEFT acts on its settings: one of them names a module that it imports.

    Raises:
        ModelError: a setting is another one.
    """
    try:
        config = read_json(path)
    except (OSError, ValueError, RecursionError):
        config = None
    given, wanted = config if isinstance(config, dict) else {}, _written(_fresh(spec), spec)
    differ = [n for n in sorted({*given, *wanted}) if n not in _FROM_BASE and given.get(n) != wanted.get(n)]
    differ += [n for n in _FROM_BASE if not _are_names(given.get(n))]
    if differ:
        raise ModelError(
            Problem(
                "the settings of an adapter are not those of its attempt",
                where=str(path),
                found=joined([f"{name}: {str(given.get(name))[:60]}" for name in differ]),
                wanted=joined([f"{name}: {str(wanted.get(name))[:60]}" for name in differ]),
            )
        )


def _fresh(spec: AttemptSpec) -> dict[str, Any]:
    """Returns the settings that a spec's adapter has as far as they do not depend on the base."""
    if METHODS[spec.method].takes_positions:
        return settings_of(spec.method, spec.tokens)
    if has_own_weights(spec.method):
        return _own_settings(spec)
    config: dict[str, Any] = peft_config(spec).to_dict()
    return _doubled(config) if spec.method == "pissa" else config


def _are_names(value: Any) -> bool:
    """Whether a setting is nothing, a name of modules or a list of them, and not an expression that matches names."""
    names = value if isinstance(value, list) else [] if value is None else [value]
    return all(isinstance(name, str) and re.fullmatch(r"[\w.]+", name) for name in names)


def _plain(value: Any) -> Any:
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return str(getattr(value, "value", value))


def load(lm: LanguageModel, folder: Path) -> LanguageModel:
    """Returns the model with the adapter of `folder` on it, in evaluation mode.

    Raises:
        ModelError: a file is missing or damaged, or the weights do not match the settings.
    """
    from safetensors.torch import load_file

    try:
        config = read_json(folder / CONFIG)
        weights = load_file(folder / WEIGHTS)
        if strange := sorted(n for n, w in weights.items() if w.is_floating_point() and not bool(w.isfinite().all())):
            raise ValueError(f"{strange[0]} has a value that is not finite")
        with warnings.catch_warnings(), torch.random.fork_rng():
            warnings.simplefilter("ignore")
            model, missing, unknown = _with_weights(lm, config, weights)
    except Exception as error:  # a damaged folder raises many kinds of errors
        raise ModelError(
            Problem(
                "an adapter can't be loaded",
                where=str(folder),
                found=f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}",
                wanted=f"{CONFIG} and {WEIGHTS} as they were written for base {lm.base}",
                do="remove the folder, and train the attempt again",
            )
        ) from None
    if missing or unknown:
        raise ModelError(
            Problem(
                "an adapter does not fit its base",
                where=str(folder),
                found=f"{number_of(missing, 'weight')} missing, {unknown} unknown",
                wanted=f"the weights that {CONFIG} requires on base {lm.base}",
            )
        )
    if isinstance(model, VirtualTokens):
        lm = with_room(lm, model.n, str(folder))
    return replace(lm, model=model.to(lm.device).eval().requires_grad_(False))


def _with_weights(lm: LanguageModel, config: dict[str, Any], weights: dict[str, torch.Tensor]) -> tuple[Any, int, int]:
    """Returns the model, the number of missing weights and the number of unknown ones."""
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
    """Raises ValueError if an entry lies outside its matrix: torch would write there unchecked."""
    torch.sparse.check_sparse_tensor_invariants.disable()  # the default; this function checks instead
    for name, module in model.named_modules():
        indices_2N = weights.get(f"{name}.shira_indices")
        if indices_2N is not None and hasattr(module, "shira_weight"):
            limits_21 = torch.tensor([[module.out_features], [module.in_features]])
            if bool(((indices_2N < 0) | (indices_2N >= limits_21)).any()):
                raise ValueError(f"entries of {name} lie outside its matrix")


def merged(lm: LanguageModel, spec: AttemptSpec) -> LanguageModel:
    """Returns the model with the adapter written into the base's weights, which are changed in place.

    Raises:
        SettingsError: the method can't be merged.
    """
    if not METHODS[spec.method].merges:
        mergeable = joined([name for name, method in METHODS.items() if method.merges], 20)
        raise SettingsError(
            Problem(
                "an adapter can't be merged into its base", found=f"method {spec.method}", wanted=f"one of {mergeable}"
            )
        )
    if has_own_weights(spec.method):
        return lm
    for module in lm.model.modules() if spec.method == "value-bias" else ():
        if hasattr(module, "beft_bias") and module.base_layer.bias is None:
            zeros = torch.zeros(module.base_layer.out_features, dtype=lm.model.dtype, device=lm.device)
            module.base_layer.bias = torch.nn.Parameter(zeros, requires_grad=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return replace(lm, model=lm.model.merge_and_unload().eval())
