"""A shared prefix is computed once, and results do not change."""

import random
from dataclasses import replace
from typing import Any

import pytest
import torch

from rungwise.core.errors import ModelError
from rungwise.core.methods import ADAPTING
from rungwise.core.records import AnswerForm, AttemptSpec, Base
from rungwise.model.adapters import attach, trained_weights
from rungwise.model.answers import score_labels, write_answers
from rungwise.model.architectures import ARCHITECTURES
from rungwise.model.kernels import shared_prefix
from rungwise.model.kernels.last_layer import shorten
from rungwise.model.kernels.shared_prefix import MIN_SHARED_TOKENS, can_share, read_prefix, shared_tokens
from rungwise.model.language_model import LanguageModel, encode_answers, encode_prompts, load
from rungwise.model.virtual_tokens import VirtualTokens
from rungwise.training.batches import TokenRow, micro_batches, microbatch_tokens
from rungwise.training.loop import train
from rungwise.training.step import loss_sum, shared_prefix_length
from tests.conftest import KEYWORDS, make_base, planted_rows

INSTRUCTION = "Sort the mail of a customer into one of the queues that stand below.\n"


@pytest.fixture
def lm(base_folder):
    return load(Base(str(base_folder)), base_folder)


def prompts_of(lm, n=12):
    return encode_prompts(lm, [f"{INSTRUCTION}{text}\nQueue:" for text, _ in planted_rows(n)])


def rows_of(lm, n=12):
    answers = encode_answers(lm, [label for _, label in planted_rows(n)])
    return [TokenRow(tuple(p), tuple(a)) for p, a in zip(prompts_of(lm, n), answers, strict=True)]


def spec_for(lm, method="lora", **more):
    defaults = {"rank": 2, "layers": 1, "tokens": 4, "steps": 6, "batch_size": 4, "learning_rate": 1e-2, "seed": 5}
    return AttemptSpec(lm.base, method, "{body}", AnswerForm("label", ("a",)), **{**defaults, **more})


def counted(model, monkeypatch):
    """Returns a list that grows by the number of tokens of every pass through the model."""
    passed, whole = [], model.forward

    def forward(*args, **kwargs):
        passed.append(kwargs["input_ids"].numel())
        return whole(*args, **kwargs)

    monkeypatch.setattr(model, "forward", forward)
    return passed


def test_the_shared_prefix_is_found():
    head = list(range(MIN_SHARED_TOKENS))
    assert shared_tokens([[*head, 7, 8], [*head, 9], [*head, 7, 1]]) == MIN_SHARED_TOKENS
    assert shared_tokens([[*head, 7, 8], [*head, 7, 9, 3]]) == MIN_SHARED_TOKENS + 1
    assert shared_tokens([head + [7], head + [7]]) == MIN_SHARED_TOKENS, "a prompt's last token is its own"
    assert shared_tokens([head, head + [7]]) == 0, "too few are left"
    assert shared_tokens([head[:5] + [7], head[:5] + [8]]) == shared_tokens([head + [7]]) == shared_tokens([]) == 0


def test_labels_and_texts_are_the_same_and_shared_tokens_are_computed_once(lm, monkeypatch):
    prompts, labels = prompts_of(lm), encode_answers(lm, sorted(set(KEYWORDS.values())))
    n = shared_tokens(prompts)
    assert n > MIN_SHARED_TOKENS
    passed = counted(lm.model, monkeypatch)
    scores, written = score_labels(lm, prompts, labels), write_answers(lm, prompts, 5)
    own = max(len(p) for p in prompts) - n
    assert passed[:2] == [n, len(prompts) * own]
    monkeypatch.setattr(shared_prefix, "MIN_SHARED_TOKENS", 10_000)
    assert torch.allclose(score_labels(lm, prompts, labels), scores, atol=1e-4)
    assert [w.text for w in write_answers(lm, prompts, 5)] == [w.text for w in written]


@pytest.mark.parametrize("method", ADAPTING)
def test_loss_and_gradients_of_every_method_equal_those_of_whole_rows(lm, method):
    spec = spec_for(lm, method)
    tuned, rows = attach(lm, spec), rows_of(lm)
    weights = trained_weights(tuned)
    with torch.no_grad():  # away from a start at which half of the gradients are zero
        for weight in weights.values():
            weight += 0.01 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(3))
    n = shared_prefix_length(tuned, spec, rows)
    assert n > MIN_SHARED_TOKENS
    actual = []
    for n_shared in (0, n):
        tuned.model.zero_grad()
        loss = loss_sum(tuned.model, rows, tuned, n_shared=n_shared)
        loss.backward()
        actual.append((loss.item(), {name: weight.grad.clone() for name, weight in weights.items()}))
    (whole, whole_grads), (once, once_grads) = actual
    assert once == pytest.approx(whole, rel=1e-5)
    for name, grad in whole_grads.items():
        assert torch.allclose(once_grads[name], grad, rtol=1e-3, atol=1e-4 * float(grad.abs().max()) + 1e-7), name
        assert float(grad.abs().max()) > 0


def test_training_gives_equal_losses_up_to_rounding_from_fewer_tokens(base_folder, monkeypatch):
    def trained():
        lm = load(Base(str(base_folder)), base_folder)
        passed = counted(lm.model, monkeypatch)
        return train(lm, spec_for(lm), rows_of(lm, 24), progress=lambda *_: None), sum(passed)

    once, passed_once = trained()
    monkeypatch.setattr(shared_prefix, "MIN_SHARED_TOKENS", 10_000)
    whole, passed = trained()
    assert once.losses == pytest.approx(whole.losses, rel=1e-4) and once.losses[-1] < once.losses[0]
    assert once.tokens == whole.tokens and passed_once < 0.6 * passed
    assert once.losses != whole.losses, "training computes them once"


def test_a_microbatch_counts_shared_tokens_once():
    rows = [TokenRow(tuple(range(50)), (1, 2))] * 8
    assert [len(part) for part in micro_batches(rows, 104)] == [2, 2, 2, 2]
    assert microbatch_tokens(5, 52, 40) == 5 * (12 + 40 // 8) + 40 == 125
    assert [len(part) for part in micro_batches(rows, 125, None, 40)] == [5, 3]
    assert [len(part) for part in micro_batches(rows, 124, None, 40)] == [4, 4]
    assert [len(part) for part in micro_batches(rows, 40, None, 40)] == [1] * 8


def test_dropout_checkpointing_and_compiling_share_nothing(lm, tmp_path):
    rows = rows_of(lm)
    spec = spec_for(lm)
    dropped = spec_for(lm, dropout=0.1)
    tuned = attach(lm, dropped)
    assert shared_prefix_length(tuned, dropped, rows) == 0
    again = load(lm.base, tmp_path)
    tuned = attach(again, spec)
    assert shared_prefix_length(tuned, spec, rows) > MIN_SHARED_TOKENS
    assert shared_prefix_length(tuned, replace(spec, checkpointing=True), rows) == 0
    assert shared_prefix_length(tuned, replace(spec, compiled=True), rows) == 0
    tuned.model.config.attention_dropout = 0.1
    assert shared_prefix_length(tuned, spec, rows) == 0


SIZES = {
    "vocab_size": 120,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
MORE: dict[str, dict[str, Any]] = {
    "mistral": {"sliding_window": None},
    "mixtral": {"num_local_experts": 2},
    "qwen2_moe": {"num_experts": 4, "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16},
    "qwen3": {"head_dim": 8},
    "phi3": {"sliding_window": None},
    "gemma": {"head_dim": 8},
    "glm": {"head_dim": 8},
}


def random_model(kind, **more):
    """A causal model of that architecture with weights that make tokens matter, ready to answer."""
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[kind](**{**SIZES, **MORE.get(kind, {}), **more}))
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(0, 0.3)
    shorten(model.eval().requires_grad_(False))
    return LanguageModel(Base("b"), "", model, None, (), (), 2, "plain", 256, "cpu")


def random_prompts():
    draw = random.Random(0)
    head = [draw.randrange(3, 120) for _ in range(40)]
    return [head + [draw.randrange(3, 120) for _ in range(n)] for n in (2, 3, 5, 9, 30, 30, 7)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [kind for kind, known in ARCHITECTURES.items() if known.can_share_prefix])
def test_an_architecture_that_shares_answers_as_for_each_prompt_alone(kind):
    lm, prompts, labels = random_model(kind), random_prompts(), [[5, 6, 2], [5, 7, 8, 2], [9, 2]]
    assert can_share(lm.model.config)
    alone = torch.cat([score_labels(lm, [prompt], labels) for prompt in prompts])
    likely = alone.exp() > 1e-9  # the others stand at a bound
    assert torch.allclose(score_labels(lm, prompts, labels)[likely], alone[likely], atol=1e-3)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("mistral", {"sliding_window": 8}),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}),
        ("gpt_neo", {"num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]], "window_size": 8}),
        ("mpt", {"d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 256}),
        ("llama", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}}),
    ],
)
def test_architectures_that_count_padding_share_nothing(kind, more, monkeypatch):
    lm, prompts = random_model(kind, **more), random_prompts()
    assert not can_share(lm.model.config)
    passed = counted(lm.model, monkeypatch)
    score_labels(lm, prompts, [[5, 2], [6, 2]])
    assert passed[0] == len(prompts) * max(map(len, prompts))


def test_virtual_tokens_do_not_hide_a_window():
    lm = random_model("mistral", sliding_window=8)
    spec = spec_for(lm, "prefix-tuning")
    tuned = replace(lm, model=VirtualTokens(lm.model, "prefix-tuning", 4, range(3, 40)))
    assert shared_prefix_length(tuned, spec, [TokenRow(tuple(p), (5, 2)) for p in random_prompts()]) == 0


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("more", [{"embd_pdrop": 0.1}, {"resid_pdrop": 0.1}, {"attn_pdrop": 0.1}, {}])
def test_a_base_with_dropout_shares_nothing(more):
    lm = random_model("gpt2", **{"embd_pdrop": 0.0, "resid_pdrop": 0.0, "attn_pdrop": 0.0, **more})
    rows = [TokenRow(tuple(p), (5, 2)) for p in random_prompts()]
    assert bool(shared_prefix_length(lm, spec_for(lm), rows)) == (not more)


def test_a_prefix_out_of_memory_is_reported_for_a_single_row(lm, monkeypatch):
    def none(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(lm.model, "forward", none)
    with pytest.raises(ModelError, match="a single row is out of memory"):
        write_answers(lm, prompts_of(lm), 3)


def test_a_prefix_is_expanded_to_any_number_of_rows_and_does_not_change(tmp_path):
    lm = load(Base("b"), make_base(tmp_path / "b", layers=3).parent)
    with torch.no_grad():
        prefix = read_prefix(lm.model, range(40), "cpu")
        for n_rows in (1, 5):
            grown = prefix.of(n_rows)
            lm.model(input_ids=torch.ones(n_rows, 3).long(), past_key_values=grown, use_cache=True)
            assert grown.get_seq_length() == 43 and grown.layers[0].keys.shape[0] == n_rows
    assert prefix.cache.get_seq_length() == 40 and prefix.cache.layers[0].keys.shape[0] == 1
