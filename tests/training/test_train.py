import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rungwise.core.errors import ModelError, TrainingError
from rungwise.core.methods import ADAPTING, METHODS
from rungwise.core.records import AttemptSpec, Base
from rungwise.model.answers import score_labels
from rungwise.model.language_model import encode_answers, encode_prompts, load
from rungwise.training import train as module
from rungwise.training.batches import TokenRow, batches, encode, micro_batches
from rungwise.training.batches import token_rows as fitting
from rungwise.training.checkpoints import Checkpoints
from rungwise.training.train import FULL_RATE, answer_logits, learning_rate, loss_sum, rate_share, train
from tests.conftest import examples, make_base

PROMPT = "{body}\nQueue:"


@pytest.fixture
def lm(base_folder):
    return load(Base(str(base_folder)), base_folder)


def spec_for(lm, **more):
    defaults = {"rank": 4, "steps": 8, "batch_size": 8, "learning_rate": 1e-2, "seed": 5}
    return AttemptSpec(lm.base, "lora", PROMPT, ("a",), **{**defaults, **more})


def quiet(done, total, what):
    pass


def token_rows(lm, template, rows):
    return fitting(lm, encode(lm, template, rows))


def test_the_loss_stands_on_answer_tokens_alone(lm):
    rows, _ = token_rows(lm, PROMPT, examples(9))
    expected = 0.0
    for row in rows:
        logits = lm.model(torch.tensor([[*row.prompt, *row.answer]])).logits[0].log_softmax(-1)
        expected -= sum(float(logits[len(row.prompt) - 1 + i, t]) for i, t in enumerate(row.answer))
    assert float(loss_sum(lm.model, rows, lm)) == pytest.approx(expected, rel=1e-5)


def test_every_answer_ends_with_the_end_token(lm):
    rows, rejected = token_rows(lm, PROMPT, examples(5))
    assert all(row.answer[-1] == lm.end for row in rows) and rejected == {}


def test_rows_over_the_context_are_counted(tmp_path):
    short = load(Base("b"), make_base(tmp_path / "b", context=11).parent)
    rows, rejected = token_rows(short, PROMPT, examples(50))
    assert rejected["over_context"] == 50 - len(rows) > 0 and rows
    assert all(r.length <= 11 for r in rows)


def test_batches_show_every_row_once_a_pass_in_a_seeded_order():
    rows = [TokenRow((i,) * (1 + i % 7), (i,)) for i in range(50)]
    shown = [row for batch in batches(rows, batch_size=8, steps=25, seed=1) for row in batch]
    assert len(shown) == 200
    for start in (0, 48):
        assert len(set(shown[start : start + 48])) >= 46
    assert all(shown.count(row) == 4 for row in rows)
    assert shown == [r for b in batches(rows, batch_size=8, steps=25, seed=1) for r in b]
    assert shown != [r for b in batches(rows, batch_size=8, steps=25, seed=2) for r in b]
    assert [len(b) for b in batches(rows[:3], batch_size=8, steps=4, seed=1)] == [3] * 4


def test_equal_seeds_give_equal_bits_and_others_differ(base_folder):
    def weights(seed):
        lm = load(Base(str(base_folder)), base_folder)
        rows, _ = token_rows(lm, PROMPT, examples(40))
        tuned = train(lm, spec_for(lm, seed=seed, dropout=0.1), rows, progress=quiet).lm
        return torch.cat([p.flatten() for n, p in sorted(tuned.model.named_parameters()) if "lora_" in n])

    first = weights(1)
    assert torch.equal(first, weights(1)) and not torch.equal(first, weights(2))


def test_the_numbers_of_a_training_change_only_with_its_recipe(tmp_path):
    # If this fails and the change is meant, raise TRAINING in rungwise/core/recipes.py and write the new losses.
    lm = load(Base("b"), make_base(tmp_path / "b", hidden=16, layers=1).parent)
    rows, _ = token_rows(lm, PROMPT, examples(40))
    losses = train(lm, spec_for(lm, steps=4), rows, progress=quiet).losses
    assert losses == pytest.approx(GOLDEN, abs=2e-3)


GOLDEN = (6.00593, 5.79811, 5.55613, 5.54903)


def test_a_training_learns_and_leaves_the_base_alone(lm):
    before = {n: p.clone() for n, p in lm.model.named_parameters()}
    rows, _ = token_rows(lm, PROMPT, examples(200))
    trained = train(lm, spec_for(lm, rank=8, steps=100, batch_size=16, alpha=16.0), rows, progress=quiet)
    assert trained.losses[-1] < 0.8 * trained.losses[0] and trained.tokens > trained.answer_tokens > 0
    after = {
        n.replace("base_model.model.", "").replace(".base_layer", ""): p for n, p in trained.lm.model.named_parameters()
    }
    assert all(torch.equal(after[n], p) for n, p in before.items())
    prompts = encode_prompts(trained.lm, [e.fields["body"] + "\nQueue:" for e in examples(60, seed=2)])
    labels = sorted({e.answer for e in examples(60, seed=2)})
    best = score_labels(trained.lm, prompts, encode_answers(trained.lm, labels)).argmax(1)
    right = sum(labels[i] == e.answer for i, e in zip(best.tolist(), examples(60, seed=2), strict=True))
    assert right / 60 > 0.9


def test_a_loss_that_is_not_finite_stops_before_the_weights_move(lm):
    rows, _ = token_rows(lm, PROMPT, examples(40))
    with torch.no_grad():
        lm.model.lm_head.weight[0, 0] = math.nan
    with pytest.raises(TrainingError, match=r"(?s)diverged.*step 1 of 8.*learning_rate"):
        train(lm, spec_for(lm), rows, progress=quiet)


def test_the_rate_rises_then_falls_along_a_cosine(lm):
    spec = spec_for(lm, steps=100, warmup_share=0.1)
    assert [rate_share(spec, s) for s in (0, 9, 10)] == [0.1, 1.0, 1.0]
    assert rate_share(spec, 55) == pytest.approx(0.5) and rate_share(spec, 99) < 0.01
    assert rate_share(replace(spec, schedule="constant"), 99) == 1.0


def test_a_step_in_parts_has_the_loss_and_gradient_of_the_whole(base_folder):
    def first_step(max_tokens_per_microbatch):
        lm = load(Base(str(base_folder)), base_folder)
        rows, _ = token_rows(lm, PROMPT, examples(40))
        spec = spec_for(lm, steps=1, batch_size=16, max_tokens_per_microbatch=max_tokens_per_microbatch)
        trained = train(lm, spec, rows, progress=quiet)
        return trained.losses[0], torch.cat([p.flatten() for p in module.trained_weights(trained.lm).values()])

    whole, parts = first_step(0), first_step(60)
    assert parts[0] == pytest.approx(whole[0], rel=1e-5)
    torch.testing.assert_close(parts[1], whole[1], atol=1e-5, rtol=1e-3)


def test_parts_hold_at_most_so_many_tokens_with_their_padding():
    rows = [TokenRow((1,) * n, (2,)) for n in (1, 2, 3, 9, 30)]
    parts = list(micro_batches(rows, 12))
    assert [row for part in parts for row in part] == rows
    assert [len(part) for part in parts] == [3, 1, 1]
    wide = [TokenRow((1,), (2,) * n) for n in (1, 2, 2, 3)]
    assert [len(part) for part in micro_batches(wide, 1000, 4)] == [2, 1, 1]


def test_where_the_memory_runs_out_fewer_tokens_go_through_at_once(lm, monkeypatch):
    rows, _ = token_rows(lm, PROMPT, examples(40))
    limit = 150
    real = module.loss_sum

    def with_little_memory(model, part, lm, **how):
        if max(r.length for r in part) * len(part) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(model, part, lm, **how)

    wanted = train(load(lm.base, Path()), spec_for(lm, batch_size=16), rows, progress=quiet)
    monkeypatch.setattr(module, "loss_sum", with_little_memory)
    found = train(lm, spec_for(lm, batch_size=16), rows, progress=quiet)
    assert found.losses == pytest.approx(wanted.losses, rel=1e-3)
    assert found.notes and "out of memory" in found.notes[0] and not wanted.notes


def test_a_row_that_the_memory_does_not_hold_is_an_error(lm, monkeypatch):
    rows, _ = token_rows(lm, PROMPT, examples(40))

    def none(model, part, lm, **how):
        if torch.is_grad_enabled():
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return torch.zeros(())

    monkeypatch.setattr(module, "loss_sum", none)
    monkeypatch.setattr(module, "_check_probe", lambda *a: None)
    with pytest.raises(TrainingError, match=r"(?s)does not hold a row alone.*checkpointing"):
        train(lm, spec_for(lm), rows, progress=quiet)


@pytest.mark.parametrize("template", [PROMPT, "Sort the mail of a customer into one of the queues below.\n" + PROMPT])
def test_a_long_row_beside_short_ones_that_the_memory_does_not_hold_ends_the_training(lm, monkeypatch, template):
    rows, _ = token_rows(lm, template, examples(12))
    longest = max(row.length for row in rows)
    rows = [*rows, TokenRow((*rows[0].prompt, *[5] * 100), rows[0].answer)]
    tried, real = [], module.loss_sum

    def with_little_memory(model, part, lm, **how):
        tried.append(len(part))
        assert len(tried) < 60, "it goes on for ever"
        if torch.is_grad_enabled() and (len(part) > 3 or max(row.length for row in part) > longest):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(model, part, lm, **how)

    monkeypatch.setattr(module, "loss_sum", with_little_memory)
    with pytest.raises(TrainingError, match="does not hold a row alone"):
        train(lm, spec_for(lm, batch_size=13), rows, progress=quiet)


def test_other_errors_of_the_forward_pass_are_not_taken_for_memory(lm, monkeypatch):
    rows, _ = token_rows(lm, PROMPT, examples(40))
    monkeypatch.setattr(module, "_check_probe", lambda *a: None)
    monkeypatch.setattr(module, "loss_sum", lambda *a, **how: (_ for _ in ()).throw(RuntimeError("shapes differ")))
    with pytest.raises(RuntimeError, match="shapes differ"):
        train(lm, spec_for(lm), rows, progress=quiet)


@pytest.mark.parametrize("method", ADAPTING)
def test_every_method_trains_with_and_without_checkpointing(base_folder, method):
    own = {k: v for k, v in {"tokens": 4, "layers": 1, "rank": 4}.items() if k in METHODS[method].settings}
    spec = AttemptSpec(Base(str(base_folder)), method, PROMPT, ("a",), steps=12, batch_size=8, **{"rank": 0, **own})

    def losses(**more):
        lm = load(spec.base, base_folder)
        rows, _ = token_rows(lm, PROMPT, examples(60))
        return train(lm, replace(spec, **more), rows, progress=quiet).losses

    plain = losses()
    assert plain[-1] < plain[0]
    if method == "prefix-tuning":
        with pytest.raises(ModelError, match="can't be computed again"):
            losses(checkpointing=True)
    else:
        assert losses(checkpointing=True) == pytest.approx(plain, rel=1e-3)


def test_the_last_logits_are_the_wholes_last(lm):
    rows, _ = token_rows(lm, PROMPT, examples(9))
    with torch.no_grad():
        last, whole = answer_logits(lm.model, rows, lm), answer_logits(lm.model, rows, lm, is_whole=True)
    assert last.shape[1] == max(len(r.answer) for r in rows) < whole.shape[1]
    torch.testing.assert_close(last, whole[:, -last.shape[1] :])


def test_a_base_whose_rows_look_at_their_padding_is_refused(lm, monkeypatch):
    rows, _ = token_rows(lm, PROMPT, examples(40))
    real = lm.model.forward

    def deaf(input_ids, attention_mask, **more):
        return real(input_ids=input_ids, attention_mask=torch.ones_like(attention_mask), **more)

    monkeypatch.setattr(lm.model, "forward", deaf)
    with pytest.raises(TrainingError, match="depends on the rows beside it"):
        train(lm, spec_for(lm), rows, progress=quiet)


def test_a_method_without_gradients_is_refused(lm, monkeypatch):
    rows, _ = token_rows(lm, PROMPT, examples(40))
    lost = torch.nn.Parameter(torch.zeros(3))
    real = module.trained_weights
    monkeypatch.setattr(module, "trained_weights", lambda lm: {**real(lm), "lost": lost})
    with pytest.raises(TrainingError, match=r"(?s)get no gradient.*lost"):
        train(lm, spec_for(lm), rows, progress=quiet)


def test_looks_keep_the_best_weights_and_patience_ends_the_training(base_folder):
    def run(scores, **more):
        lm, left = load(Base(str(base_folder)), base_folder), list(scores)
        rows, _ = token_rows(lm, PROMPT, examples(40))
        spec = spec_for(lm, steps=10, eval_every=2, **more)
        kept = []

        def score(model):
            assert not model.model.training
            kept.append({n: w.detach().clone() for n, w in module.trained_weights(model).items()})
            return left.pop(0)

        trained = train(lm, spec, rows, progress=quiet, score=score)
        return trained, kept

    trained, kept = run((0.1, 0.5, 0.4, 0.3, 0.5))
    assert trained.kept_step == 4 and [s for s, _ in trained.scores] == [2, 4, 6, 8, 10]
    assert all(torch.equal(w, kept[1][n]) for n, w in module.trained_weights(trained.lm).items())
    stopped, _ = run((0.1, 0.5, 0.4, 0.3), patience=2)
    assert stopped.kept_step == 4 and len(stopped.losses) == 8


class Killed(Exception):
    pass


@pytest.mark.parametrize(("method", "eval_every"), [("lora", 0), ("lora", 2), ("full", 0), ("prefix-tuning", 0)])
def test_a_training_that_was_cut_off_goes_on_with_equal_bits(base_folder, tmp_path, method, eval_every):
    own = {"tokens": 4} if method == "prefix-tuning" else {}
    dropout = 0.2 if method == "lora" else 0.0
    rate = {} if method == "lora" else {"learning_rate": 1e-3}

    def run(name, kill_at=None):
        lm = load(Base(str(base_folder)), base_folder)
        rows, _ = token_rows(lm, PROMPT, examples(40))
        spec = replace(spec_for(lm, dropout=dropout, eval_every=eval_every, **own, **rate), method=method)
        checkpoints = Checkpoints(tmp_path / name, {"seed": spec.seed}, every=2)

        def progress(done, total, what):
            if done == kill_at:
                raise Killed

        def score(model):
            return float(sum(w.sum() for w in module.trained_weights(model).values()))

        trained = train(lm, spec, rows, progress=progress, checkpoints=checkpoints, score=score)
        return trained, {n: w.detach().clone() for n, w in module.trained_weights(trained.lm).items()}

    wanted, weights = run("straight")
    for kill_at in (1, 4, 5):
        with pytest.raises(Killed):
            run("cut", kill_at)
    found, again = run("cut")
    assert found.losses == wanted.losses and found.scores == wanted.scores and found.tokens == wanted.tokens
    assert all(torch.equal(weights[n], again[n]) for n in weights)
    assert "taken up again after step 4" in found.notes[-1] and not wanted.notes


def test_the_rule_gives_lora_ten_times_the_rate_of_full_fine_tuning(lm):
    def rate(**more):
        return learning_rate(lm, replace(spec_for(lm), learning_rate=None, **more))

    lm.model.config.hidden_size = 4000
    assert rate() == pytest.approx(10 * rate(method="full")) == pytest.approx(10 * FULL_RATE * 0.5**0.781)
    lm.model.config.hidden_size = 32
    assert rate(method="full") == pytest.approx(FULL_RATE * (2000 / 32) ** 0.781) and rate() == 3e-3
    assert learning_rate(lm, spec_for(lm, learning_rate=0.5)) == 0.5


def test_trained_numbers_stay_fp32_on_a_bf16_base(base_folder):
    lm = load(Base(str(base_folder)), base_folder, precision="bf16")
    rows, _ = token_rows(lm, PROMPT, examples(40))
    for method in ("lora", "layer-norm", "full"):
        spec = replace(spec_for(lm, steps=30, precision="bf16", learning_rate=1e-2), method=method)
        trained = train(load(lm.base, base_folder, precision="bf16"), spec, rows, progress=quiet)
        assert {w.dtype for w in module.trained_weights(trained.lm).values()} == {torch.float32}
        assert sum(trained.losses[-8:]) < sum(trained.losses[:8])
