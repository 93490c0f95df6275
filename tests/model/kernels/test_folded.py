"""No pass expands or copies a frozen weight, and a slice costs what its own tokens cost."""

import time
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from rungwise.core.records import AnswerForm, AttemptSpec, Base
from rungwise.model.adapters import attach
from rungwise.model.answers import score_labels, write_answers
from rungwise.model.kernels import products
from rungwise.model.kernels.folded import fold_inputs, is_slice
from rungwise.model.kernels.last_layer import shorten
from rungwise.model.kernels.low_rank import fuse
from rungwise.model.language_model import LanguageModel, load
from rungwise.training.batches import TokenRow
from rungwise.training.step import loss_sum
from tests.conftest import make_base

SIZES = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
OWN: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"sliding_window": None},
    "qwen2": {},
    "qwen3": {},
    "gemma3_text": {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"]},
    "gemma2": {"sliding_window": 16},
    "gpt_neox": {},
    "gpt2": {},
    "phi": {},
    "phi3": {"sliding_window": None},
    "olmo2": {},
    "granite": {"logits_scaling": 4.0},
    "smollm3": {},
    "cohere": {},
    "mixtral": {"num_local_experts": 2},
}


def random_model(kind: str, *, is_folded: bool = True, **more: Any) -> LanguageModel:
    """A frozen bf16 model of that architecture, as `load` leaves it."""
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    torch.manual_seed(0)
    config = CONFIG_MAPPING[kind](**{**SIZES, **OWN[kind], **more})
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()
    if is_folded:
        assert fold_inputs(model) > 0
    shorten(model)
    return LanguageModel(Base("b"), "", model.requires_grad_(False), None, (), (), 2, "plain", 128, "cpu")


def loss_and_gradient(lm: LanguageModel) -> tuple[float, torch.Tensor]:
    """The loss of four rows of different lengths, and its gradient in the embeddings."""
    embedding = lm.model.get_input_embeddings().weight.requires_grad_()
    rows = [TokenRow(tuple(range(3, 6 + 2 * i)), (5, 7, 2)) for i in range(4)]
    loss = loss_sum(lm.model, rows, lm)
    return float(loss), torch.autograd.grad(loss, embedding)[0].float()


class FrozenWeights(TorchDispatchMode):  # type: ignore[misc]  # torch is not followed by mypy
    """Lists the operations that expand or copy a frozen matrix, or will: a linear layer that reads a slice."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.frozen = {
            p.untyped_storage().data_ptr() for p in model.parameters() if not p.requires_grad and p.dim() > 1
        }
        self.copies: list[str] = []
        self.products = 0

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = op.overloadpacket.__name__
        tensors = [x for x in args if isinstance(x, torch.Tensor)]
        is_frozen = any(x.untyped_storage().data_ptr() in self.frozen for x in tensors)
        self.products += is_frozen and name in ("linear", "mm", "addmm")
        if is_frozen and (
            name in ("expand", "bmm", "clone", "copy_", "_to_copy") or (name == "linear" and is_slice(args[0]))
        ):
            self.copies.append(f"{name} {[tuple(x.shape) for x in tensors]}")
        return op(*args, **(kwargs or {}))


def prompts_of(n: int = 7, shared: int = 40) -> list[list[int]]:
    draw = torch.Generator().manual_seed(3)
    head = torch.randint(3, 300, (shared,), generator=draw).tolist()
    return [head + torch.randint(3, 300, (2 + i,), generator=draw).tolist() for i in range(n)]


def passes(lm: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> FrozenWeights:
    """Scores, writes and trains with rows that share a prefix and rows that don't; returns what was seen."""
    monkeypatch.setattr(products, "has_bf16", lambda: True)  # without it, blocks of a weight are converted
    monkeypatch.setattr(torch, "inference_mode", torch.no_grad)  # in inference mode `linear` hides its operations
    lm.__dict__["tokenizer"] = type("Toy", (), {"decode": lambda *_, **__: ""})()
    labels = [[5, 6, 2], [5, 7, 8, 2], [9, 2]]
    rows = [TokenRow(tuple(p), (5, 7, 2)[: 1 + i % 3]) for i, p in enumerate(prompts_of(4, 5))]
    seen = FrozenWeights(lm.model)
    with seen:
        for prompts in (prompts_of(), prompts_of(shared=3)):
            score_labels(lm, prompts, labels)
            write_answers(lm, prompts, 3)
        if any(p.requires_grad for p in lm.model.parameters()):
            lm.model.train()
            loss_sum(lm.model, rows, lm).backward()
    return seen


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", OWN)
def test_no_pass_expands_or_copies_a_frozen_weight(kind, monkeypatch):
    lm = random_model(kind)
    spec = AttemptSpec(lm.base, "lora", "{body}", AnswerForm("label", ("a",)), rank=2, seed=5)
    seen = passes(lm, monkeypatch)
    assert seen.copies == [] and seen.products > 20
    tuned = attach(lm, spec)
    fuse(tuned.model)
    seen = passes(tuned, monkeypatch)
    assert seen.copies == [] and seen.products > 60


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["gpt_neox", "phi", "gemma2"])
def test_without_it_the_test_above_fails(kind, monkeypatch):
    assert passes(random_model(kind, is_folded=False), monkeypatch).copies


@pytest.mark.parametrize("method", ["prompt-tuning", "prefix-tuning", "vera", "ia3"])
def test_adapters_do_not_expand_a_frozen_weight_either(method, monkeypatch):
    lm = random_model("gpt_neox" if "tuning" in method else "llama")
    spec = AttemptSpec(lm.base, method, "{body}", AnswerForm("label", ("a",)), rank=2, tokens=4, layers=1, seed=5)
    lm.__dict__["tokenizer"] = type("Toy", (), {"__len__": lambda _: 300, "all_special_ids": [0, 1, 2]})()
    assert passes(attach(lm, spec), monkeypatch).copies == []


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("is_trained", [True, False])
def test_a_slice_gives_the_product_and_gradient_of_its_copy(bias, dtype, is_trained):
    torch.manual_seed(0)
    layer = torch.nn.Linear(16, 40, bias=bias, dtype=dtype).requires_grad_(is_trained)
    plain = [layer.weight, layer.bias]
    assert fold_inputs(layer) == 1
    whole = torch.randn(6, 9, 16, dtype=dtype, requires_grad=True)
    for x in (
        whole[:, -3:],
        whole[:, -1:],
        whole[:1, 2:4],
        whole[:, :, :],
        whole[0],
        whole.view(2, 3, 9, 16)[:, :, 1:4],
    ):
        actual, expected = layer(x), torch.nn.functional.linear(x.contiguous(), *plain)
        assert actual.shape == expected.shape and torch.allclose(
            actual, expected, rtol=1e-2 if dtype != torch.float32 else 1e-5
        )
        one, other = (
            torch.autograd.grad(y.float().square().sum(), whole, retain_graph=True)[0] for y in (actual, expected)
        )
        assert torch.allclose(one, other, rtol=2e-2, atol=2e-2 if dtype != torch.float32 else 1e-5)


def test_a_loaded_base_reads_slices_as_matrices(tmp_path):
    lm = load(Base("b"), make_base(tmp_path / "b").parent, precision="bf16")
    linears = [module for module in lm.model.modules() if type(module) is torch.nn.Linear]
    assert lm.model.lm_head in linears and all("forward" in vars(module) for module in linears)


def test_what_counts_as_a_slice_is_what_torch_does_not_fold():
    weight = torch.randn(5, 4)
    x = torch.randn(3, 6, 4)
    for one in (x, x[:, -2:], x[:, -1:], x[:1, -2:], x[:1], x[1:], x.transpose(0, 1), x[:, ::6]):
        with torch.no_grad(), Products() as seen:
            torch.nn.functional.linear(one, weight)
        assert is_slice(one) == ("bmm" in seen.names), one.stride()
    assert is_slice(x.view(3, 2, 3, 4)[:, :, 1:]) and not is_slice(x.view(3, 2, 3, 4)) and not is_slice(x[:, 0])


class Products(TorchDispatchMode):  # type: ignore[misc]  # torch is not followed by mypy
    """Lists the names of all operations."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(op.overloadpacket.__name__)
        return op(*args, **(kwargs or {}))


def test_a_large_vocabulary_costs_the_same_with_a_slice_as_with_its_copy():
    """Without folding the time is over 50 times and the memory over 30 times as much."""
    torch.manual_seed(0)
    head = torch.nn.Linear(64, 65_536, bias=False, dtype=torch.bfloat16).requires_grad_(False)
    hidden = torch.randn(32, 8, 64, dtype=torch.bfloat16)
    fold_inputs(head)

    def seconds(x: torch.Tensor) -> float:
        times = []
        for _ in range(7):
            started = time.process_time()
            with torch.inference_mode():
                head(x)
            times.append(time.process_time() - started)
        return min(times)

    copied = hidden[:, -1:].contiguous()
    assert seconds(hidden[:, -1:]) < 5 * max(seconds(copied), 2e-4)
    assert allocated(head, hidden[:, -1:]) < 1.2 * allocated(head, copied)


def allocated(head: Any, x: torch.Tensor) -> int:
    """Bytes that torch's allocator hands out for one product."""
    with torch.profiler.profile(profile_memory=True) as seen, torch.inference_mode():
        head(x)
    return sum(max(0, e.self_cpu_memory_usage) for e in seen.key_averages())
