"""Whether the weights of an adapter from elsewhere are those of its attempt in all but their values.

The base is built on torch's meta device, which holds no values, and gets the adapter of the spec: its tensors have the
names and shapes that the file must have. The values must be finite.
"""

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any, Final

import torch

from rungwise.core.errors import ModelError, Problem
from rungwise.core.folders import joined
from rungwise.core.records import AttemptSpec
from rungwise.model.adapter_files import weights_of
from rungwise.model.adapters import attach
from rungwise.model.bases import local_folder, may_run_code
from rungwise.model.language_model import load_reader

Shapes = Mapping[str, tuple[int, ...]]
_PLACES: Final = "shira_indices"
"""The end of the name of a tensor that holds places in a matrix, not values."""


def check_weights(path: Path, spec: AttemptSpec, root: Path) -> None:
    """Checks the names, shapes, types and values of an adapter's weights.

    Names and shapes of a base that can't be built without weights are not known; then only the rest is checked.

    Args:
        path: the file of the weights.
        spec: the attempt's, from the workspace.
        root: the folder that the path of its base is relative to.

    Raises:
        ModelError: it is not a safetensors file, or a tensor is missing, unknown, of another shape or not finite.
    """
    from safetensors import SafetensorError, safe_open

    expected = shapes_of(spec, root)
    try:
        with safe_open(path, framework="pt") as file:
            actual = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  # no dict
            _check_shapes(path, actual, expected)
            for name in sorted(actual):
                _check_values(path, name, file.get_tensor(name))
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise _refused(path, " ".join(str(error).split())[:200], "a safetensors file") from None


def _check_shapes(path: Path, actual: Shapes, expected: Shapes | None) -> None:
    if expected is None:
        if not actual:
            raise _refused(path, "no tensor", "the weights of an adapter")
        return
    if differ := sorted(name for name in {*actual, *expected} if actual.get(name) != expected.get(name)):
        raise _refused(
            path,
            joined([f"{name[:120]}: {_shape(actual.get(name))}" for name in differ], 3),
            joined([f"{name[:120]}: {_shape(expected.get(name))}" for name in differ], 3),
        )


def _shape(shape: tuple[int, ...] | None) -> str:
    return "no such tensor" if shape is None else f"shape {list(shape)}"


def _check_values(path: Path, name: str, tensor: torch.Tensor) -> None:
    if name.endswith(_PLACES):
        if tensor.is_floating_point() or bool((tensor < 0).any()):
            raise _refused(path, f"{name[:120]}: {tensor.dtype}", "places in a matrix, as whole numbers from 0")
    elif tensor.dtype != torch.float32:
        raise _refused(path, f"{name[:120]}: {tensor.dtype}", "torch.float32, as training writes it")
    elif not bool(tensor.isfinite().all()):
        raise _refused(path, f"{name[:120]}: a value that is not finite", "finite values")


def shapes_of(spec: AttemptSpec, root: Path) -> Shapes | None:
    """Returns name -> shape of each tensor of an adapter of `spec`; None if the base can't be built without weights.

    Raises:
        ModelError: the base is not on this machine, or its code is not allowed.
    """
    assert spec.base is not None  # only a language model has an adapter
    reader = load_reader(spec.base, root)
    try:
        adapted = attach(replace(reader, model=_empty_base(spec, root)), _twin(spec))
        weights, _ = weights_of(adapted, _twin(spec))
    except Exception:  # architectures and PEFT's methods raise a dozen kinds of errors on a device without values
        return None
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    return _sparse_shapes(shapes, spec.rank) if spec.method == "sparse" else shapes


def _empty_base(spec: AttemptSpec, root: Path) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    assert spec.base is not None  # as the caller checked
    folder = local_folder(spec.base, root)
    runs_code = may_run_code(spec.base, folder)
    config = AutoConfig.from_pretrained(folder, trust_remote_code=runs_code, local_files_only=True)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=runs_code)
    return model.eval().requires_grad_(False)


def _twin(spec: AttemptSpec) -> AttemptSpec:
    """Returns a spec whose adapter has tensors of the same shapes and starts without values of the base."""
    if spec.method == "pissa":  # is saved as LoRA of twice the rank
        return replace(spec, method="lora", rank=2 * spec.rank)
    return replace(spec, method="lora") if spec.method == "sparse" else spec


def _sparse_shapes(lora: Shapes, rank: int) -> Shapes:
    """Returns the shapes of chosen entries from those of the matrices of LoRA of the same rank."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape in lora.items():
        module, is_first, _ = name.partition(".lora_A.")
        if is_first:
            n = prod(shape) + prod(lora[f"{module}.lora_B.weight"])
            shapes |= {f"{module}.shira_weight": (n,), f"{module}.{_PLACES}": (2, n)}
    return shapes


def _refused(path: Path, actual: str, wanted: str) -> ModelError:
    return ModelError(
        Problem(
            "the weights of an adapter are not those of its attempt",
            where=str(path),
            found=actual,
            wanted=wanted,
            do="don't use them; pack the rung again and run the new bundle on a machine that you trust",
        )
    )
