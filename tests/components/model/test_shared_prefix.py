"""First tokens that all prompts share are read once, and change nothing."""

from dataclasses import replace

import pytest
import torch

from components.methods import ADAPTING
from components.model import shared_prefix
from components.model.adapters import attach, trained_weights
from components.model.answers import score_labels, write_answers
from components.model.language_model import encode_answers, encode_prompts, load
from components.model.shared_prefix import LEAST, read_prefix, shared_tokens
from components.records import AttemptSpec, Base
from components.training.batches import TokenRow, micro_batches
from components.training.train import loss_sum, shared_in_training, train
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
    return AttemptSpec(lm.base, method, "{body}", ("a",), **{**defaults, **more})


def counted(model, monkeypatch):
    """Returns a list that grows by the number of tokens of every pass through the model."""
    passed, whole = [], model.forward

    def forward(*args, **kwargs):
        passed.append(kwargs["input_ids"].numel())
        return whole(*args, **kwargs)

    monkeypatch.setattr(model, "forward", forward)
    return passed


def test_what_all_prompts_begin_with_is_found():
    head = list(range(LEAST))
    assert shared_tokens([[*head, 7, 8], [*head, 9], [*head, 7, 1]]) == LEAST
    assert shared_tokens([[*head, 7, 8], [*head, 7, 9, 3]]) == LEAST + 1
    assert shared_tokens([head + [7], head + [7]]) == LEAST, "a prompt's last token is its own"
    assert shared_tokens([head, head + [7]]) == 0, "too few are left"
    assert shared_tokens([head[:5] + [7], head[:5] + [8]]) == shared_tokens([head + [7]]) == shared_tokens([]) == 0


def test_labels_and_texts_are_the_same_and_shared_tokens_are_read_once(lm, monkeypatch):
    prompts, labels = prompts_of(lm), encode_answers(lm, sorted(set(KEYWORDS.values())))
    n = shared_tokens(prompts)
    assert n > LEAST
    passed = counted(lm.model, monkeypatch)
    scores, written = score_labels(lm, prompts, labels), write_answers(lm, prompts, 5)
    own = max(len(p) for p in prompts) - n
    assert passed[:2] == [n, len(prompts) * own]
    monkeypatch.setattr(shared_prefix, "LEAST", 10_000)
    assert torch.allclose(score_labels(lm, prompts, labels), scores, atol=1e-4)
    assert [w.text for w in write_answers(lm, prompts, 5)] == [w.text for w in written]


@pytest.mark.parametrize("method", ADAPTING)
def test_the_loss_and_all_gradients_of_a_method_are_those_of_whole_rows(lm, method):
    spec = spec_for(lm, method)
    tuned, rows = attach(lm, spec), rows_of(lm)
    weights = trained_weights(tuned)
    with torch.no_grad():  # away from a start at which half of the gradients are zero
        for weight in weights.values():
            weight += 0.01 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(3))
    n = shared_in_training(tuned, spec, rows)
    assert n > LEAST
    found = []
    for n_shared in (0, n):
        tuned.model.zero_grad()
        loss = loss_sum(tuned.model, rows, tuned, n_shared=n_shared)
        loss.backward()
        found.append((loss.item(), {name: weight.grad.clone() for name, weight in weights.items()}))
    (whole, whole_grads), (once, once_grads) = found
    assert once == pytest.approx(whole, rel=1e-5)
    for name, grad in whole_grads.items():
        assert torch.allclose(once_grads[name], grad, rtol=1e-3, atol=1e-4 * float(grad.abs().max()) + 1e-7), name
        assert float(grad.abs().max()) > 0


def test_a_training_is_the_same_but_for_rounding_and_reads_fewer_tokens(base_folder, monkeypatch):
    def trained():
        lm = load(Base(str(base_folder)), base_folder)
        passed = counted(lm.model, monkeypatch)
        return train(lm, spec_for(lm), rows_of(lm, 24), progress=lambda *_: None), sum(passed)

    once, passed_once = trained()
    monkeypatch.setattr(shared_prefix, "LEAST", 10_000)
    whole, passed = trained()
    assert once.losses == pytest.approx(whole.losses, rel=1e-4) and once.losses[-1] < once.losses[0]
    assert once.tokens == whole.tokens and passed_once < 0.6 * passed
    assert once.losses != whole.losses, "a training reads them once"


def test_a_part_of_a_batch_counts_shared_tokens_once():
    rows = [TokenRow(tuple(range(50)), (1, 2))] * 8
    assert [len(part) for part in micro_batches(rows, 104)] == [2, 2, 2, 2]
    assert [len(part) for part in micro_batches(rows, 104, None, 40)] == [5, 3]


def test_where_a_row_can_not_do_without_its_own_pass_nothing_is_shared(lm, tmp_path):
    rows = rows_of(lm)
    spec = spec_for(lm)
    dropped = spec_for(lm, dropout=0.1)
    tuned = attach(lm, dropped)
    assert shared_in_training(tuned, dropped, rows) == 0
    again = load(lm.base, tmp_path)
    tuned = attach(again, spec)
    assert shared_in_training(tuned, spec, rows) > LEAST
    assert shared_in_training(tuned, replace(spec, checkpointing=True), rows) == 0
    assert shared_in_training(tuned, replace(spec, compiled=True), rows) == 0
    tuned.model.config.attention_dropout = 0.1
    assert shared_in_training(tuned, spec, rows) == 0


def test_a_window_of_attention_is_not_shared():
    from transformers import MistralConfig, MistralForCausalLM

    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    windowed = MistralForCausalLM(MistralConfig(vocab_size=50, num_key_value_heads=2, sliding_window=8, **sizes))
    plain = MistralForCausalLM(MistralConfig(vocab_size=50, num_key_value_heads=2, sliding_window=None, **sizes))
    assert read_prefix(windowed, range(40), "cpu") is None
    assert read_prefix(plain, range(40), "cpu").cache.get_seq_length() == 40


def test_a_prefix_stands_before_any_number_of_rows_and_stays_as_it_was(tmp_path):
    lm = load(Base("b"), make_base(tmp_path / "b", layers=3).parent)
    with torch.no_grad():
        prefix = read_prefix(lm.model, range(40), "cpu")
        for n_rows in (1, 5):
            grown = prefix.of(n_rows)
            lm.model(input_ids=torch.ones(n_rows, 3).long(), past_key_values=grown, use_cache=True)
            assert grown.get_seq_length() == 43 and grown.layers[0].keys.shape[0] == n_rows
    assert prefix.cache.get_seq_length() == 40 and prefix.cache.layers[0].keys.shape[0] == 1
