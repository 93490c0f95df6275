from pathlib import Path

import pytest
import torch

from rungwise.core.errors import TrainingError
from rungwise.core.records import Base
from rungwise.model.adapters import trained_weights
from rungwise.model.language_model import load
from rungwise.training import loop, step
from rungwise.training.batches import TokenRow
from rungwise.training.loop import train
from rungwise.training.step import answer_logits, loss_sum
from tests.conftest import examples
from tests.training.runs import PROMPT, quiet, spec_for, token_rows


def test_the_loss_covers_answer_tokens_only(lm):
    rows, _ = token_rows(lm, PROMPT, examples(9))
    expected = 0.0
    for row in rows:
        logits = lm.model(torch.tensor([[*row.prompt, *row.answer]])).logits[0].log_softmax(-1)
        expected -= sum(float(logits[len(row.prompt) - 1 + i, t]) for i, t in enumerate(row.answer))
    assert float(loss_sum(lm.model, rows, lm)) == pytest.approx(expected, rel=1e-5)


def test_answer_logits_are_the_last_of_all_logits(lm):
    rows, _ = token_rows(lm, PROMPT, examples(9))
    with torch.no_grad():
        last, whole = answer_logits(lm.model, rows, lm), answer_logits(lm.model, rows, lm, is_whole=True)
    assert last.shape[1] == max(len(r.answer) for r in rows) < whole.shape[1]
    torch.testing.assert_close(last, whole[:, -last.shape[1] :])


def test_microbatches_give_the_loss_and_gradient_of_the_whole_step(base_folder):
    def first_step(max_tokens_per_microbatch):
        lm = load(Base(str(base_folder)), base_folder)
        rows, _ = token_rows(lm, PROMPT, examples(40))
        spec = spec_for(lm, steps=1, batch_size=16, max_tokens_per_microbatch=max_tokens_per_microbatch)
        trained = train(lm, spec, rows, progress=quiet)
        return trained.losses[0], torch.cat([p.flatten() for p in trained_weights(trained.lm).values()])

    whole, parts = first_step(0), first_step(60)
    assert parts[0] == pytest.approx(whole[0], rel=1e-5)
    torch.testing.assert_close(parts[1], whole[1], atol=1e-5, rtol=1e-3)


def test_out_of_memory_makes_microbatches_smaller(lm, monkeypatch):
    rows, _ = token_rows(lm, PROMPT, examples(40))
    limit = 150
    real = step.loss_sum

    def with_little_memory(model, part, lm, **options):
        if max(r.length for r in part) * len(part) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(model, part, lm, **options)

    wanted = train(load(lm.base, Path()), spec_for(lm, batch_size=16), rows, progress=quiet)
    monkeypatch.setattr(step, "loss_sum", with_little_memory)
    actual = train(lm, spec_for(lm, batch_size=16), rows, progress=quiet)
    assert actual.losses == pytest.approx(wanted.losses, rel=1e-3)
    assert actual.notes and "out of memory" in actual.notes[0] and not wanted.notes


def test_a_single_row_out_of_memory_is_an_error(lm, monkeypatch):
    rows, _ = token_rows(lm, PROMPT, examples(40))

    def none(model, part, lm, **options):
        if torch.is_grad_enabled():
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return torch.zeros(())

    monkeypatch.setattr(step, "loss_sum", none)
    monkeypatch.setattr(loop, "check_probe", lambda *a: None)
    with pytest.raises(TrainingError, match=r"(?s)a single row is out of memory.*checkpointing"):
        train(lm, spec_for(lm), rows, progress=quiet)


@pytest.mark.parametrize("template", [PROMPT, "Sort the mail of a customer into one of the queues below.\n" + PROMPT])
def test_a_long_row_out_of_memory_among_short_ones_ends_the_run(lm, monkeypatch, template):
    rows, _ = token_rows(lm, template, examples(12))
    longest = max(row.length for row in rows)
    rows = [*rows, TokenRow((*rows[0].prompt, *[5] * 100), rows[0].answer)]
    tried, real = [], step.loss_sum

    def with_little_memory(model, part, lm, **options):
        tried.append(len(part))
        assert len(tried) < 60, "endless loop"
        if torch.is_grad_enabled() and (len(part) > 3 or max(row.length for row in part) > longest):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(model, part, lm, **options)

    monkeypatch.setattr(step, "loss_sum", with_little_memory)
    with pytest.raises(TrainingError, match="a single row is out of memory"):
        train(lm, spec_for(lm, batch_size=13), rows, progress=quiet)


def test_other_errors_of_the_forward_pass_are_raised(lm, monkeypatch):
    rows, _ = token_rows(lm, PROMPT, examples(40))
    monkeypatch.setattr(loop, "check_probe", lambda *a: None)
    monkeypatch.setattr(step, "loss_sum", lambda *a, **options: (_ for _ in ()).throw(RuntimeError("shapes differ")))
    with pytest.raises(RuntimeError, match="shapes differ"):
        train(lm, spec_for(lm), rows, progress=quiet)


def test_a_base_that_attends_to_padding_is_refused(lm, monkeypatch):
    rows, _ = token_rows(lm, PROMPT, examples(40))
    real = lm.model.forward

    def deaf(input_ids, attention_mask, **more):
        return real(input_ids=input_ids, attention_mask=torch.ones_like(attention_mask), **more)

    monkeypatch.setattr(lm.model, "forward", deaf)
    with pytest.raises(TrainingError, match="depends on the other rows"):
        train(lm, spec_for(lm), rows, progress=quiet)
