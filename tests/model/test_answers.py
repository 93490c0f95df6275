import math
from dataclasses import replace

import pytest
import torch

from rungwise.core.errors import ModelError
from rungwise.core.records import Base
from rungwise.model import answers, limits
from rungwise.model.answers import score_labels, write_answers
from rungwise.model.language_model import encode_answers, encode_prompts, load
from tests.conftest import planted_rows


@pytest.fixture(scope="module")
def lm(base_folder):
    return load(Base(str(base_folder)), base_folder)


def brute_force(lm, prompt, label):
    """The label's log-likelihood by one full pass without padding, cache or batch."""
    with torch.no_grad():
        logits = lm.model(torch.tensor([[*prompt, *label]])).logits[0].log_softmax(-1)
    return sum(float(logits[len(prompt) - 1 + i, token]) for i, token in enumerate(label))


def test_label_scores_equal_one_full_pass_each(lm, monkeypatch):
    prompts = encode_prompts(lm, [text + "\nQueue:" for text, _ in planted_rows(7)] + ["x"])
    labels = encode_answers(lm, ["delivery", "a", "", "a much longer label", "account"])
    expected = torch.tensor([[brute_force(lm, p, label) for label in labels] for p in prompts])
    assert torch.allclose(score_labels(lm, prompts, labels), expected, atol=1e-4)
    monkeypatch.setattr(limits, "SCORING_LOGITS", 1)  # one label at a time
    monkeypatch.setattr(limits, "SCORING_TOKENS", 1)  # one row at a time
    assert torch.allclose(score_labels(lm, prompts, labels), expected, atol=1e-4)


def test_labels_that_matter_after_an_offset_are_exact(lm):
    prompts = encode_prompts(lm, [text + "\nQueue:" for text, _ in planted_rows(7)])
    labels = encode_answers(lm, ["delivery", "a", "a much longer label", "account", "zzz zzz zzz zzz zzz"])
    expected = torch.tensor([[brute_force(lm, p, label) for label in labels] for p in prompts])
    offsets = torch.stack([torch.zeros(5), -expected.mean(0)])
    actual = score_labels(lm, prompts, labels, offsets=offsets)
    for way in offsets:
        right, wanted = torch.softmax(actual + way, 1), torch.softmax(expected + way, 1)
        assert torch.equal(right.argmax(1), wanted.argmax(1)) and torch.allclose(right, wanted, atol=2e-3)
    assert torch.allclose(score_labels(lm, prompts, labels, negligible=0.0), expected, atol=1e-4)


def test_labels_of_a_single_token_need_no_second_pass(lm):
    prompts = encode_prompts(lm, ["hello"])
    assert score_labels(lm, prompts, [[5], [6]])[0, 0] == pytest.approx(brute_force(lm, prompts[0], [5]), abs=1e-4)


def test_written_answers_equal_one_row_at_a_time_without_cache(lm):
    def alone(prompt, limit):
        ids, total = list(prompt), 0.0
        for _ in range(limit):
            with torch.inference_mode():
                best = lm.model(torch.tensor([ids])).logits[0, -1].log_softmax(-1).max(-1)
            total += float(best.values)
            if int(best.indices) == lm.end:
                return ids[len(prompt) :], total, False
            ids.append(int(best.indices))
        return ids[len(prompt) :], total, True

    texts = [text + "\nQueue:" for text, _ in planted_rows(9)] + ["x", "<|end|>"]
    prompts = encode_prompts(lm, texts)
    actual = write_answers(lm, prompts, 12)
    for prompt, written in zip(prompts, actual, strict=True):
        ids, total, is_cut = alone(prompt, 12)
        assert written.text == lm.tokenizer.decode(ids).strip() and written.is_cut == is_cut
        assert written.probability == pytest.approx(math.exp(total / (len(ids) + (not is_cut))), abs=1e-4)


def test_a_model_that_ends_early_leaves_the_batch(lm, monkeypatch):
    """Rows end at different steps: the end token is made likely after a row's own number of tokens."""
    inner, calls = lm.model, []

    class Ending:
        def __call__(self, **inputs):
            out = inner(**inputs)
            calls.append(len(inputs["input_ids"]))
            logits = out.logits.clone()
            logits[:, -1, lm.end] = -1e9
            ends = inputs["position_ids"][:, -1] >= 8
            logits[ends, -1, lm.end] = 1e9
            out.logits = logits
            return out

    ending = replace(lm, model=Ending())
    prompts = [[5] * n for n in (3, 5, 8)]
    actual = write_answers(ending, prompts, 20)
    assert calls[0] == 3 and calls[-1] == 1 and sorted(calls, reverse=True) == calls
    assert not any(w.is_cut for w in actual)
    one_by_one = [write_answers(ending, [p], 20)[0] for p in prompts]
    assert [w.text for w in actual] == [w.text for w in one_by_one]


def test_each_of_a_bases_ends_ends_an_answer(lm):
    """A second end token: what is written up to it is the answer, and it is not cut."""
    (prompt,) = encode_prompts(lm, ["where is my parcel\nQueue:"])
    (cut,) = write_answers(lm, [prompt], 6)
    with torch.inference_mode():
        written = lm.model.generate(torch.tensor([prompt]), max_new_tokens=6, do_sample=False)[
            0, len(prompt) :
        ].tolist()
    assert cut.is_cut
    second = written[3]
    assert second not in written[:3], "the test needs a token that the answer has once"
    (whole,) = write_answers(replace(lm, ends=lm.ends | {second}), [prompt], 6)
    assert whole.text == lm.tokenizer.decode(written[:3]).strip() and not whole.is_cut


class Sure:
    """A model that is surer of one label after the prompt's last token, and counts what it reads after the prompts."""

    def __init__(self, inner, path, strength):
        self.inner, self.path, self.strength, self.read = inner, path, strength, 0

    def __call__(self, **inputs):
        if inputs.get("past_key_values") is not None:
            self.read += inputs["input_ids"].numel()
        out = self.inner(**inputs)
        ids = inputs["input_ids"][:, -out.logits.shape[1] :]
        for before, after in zip(self.path, self.path[1:], strict=False):
            out.logits[..., after] += self.strength * (ids == before)
        return out


@pytest.mark.parametrize(("strength", "share"), [(0, 1.6), (8, 1.6), (25, 0.7)])
def test_labels_that_might_matter_are_read_and_the_others_are_bounded(lm, strength, share):
    prompts = encode_prompts(lm, [text + "\nQueue:" for text, _ in planted_rows(70)])
    names = ["card fee", "card payment fee", "card payment", "delivery", "exchange", "refund late"]
    labels = encode_answers(lm, names)
    sure = replace(lm, model=Sure(lm.model, [prompts[0][-1], *labels[1]], strength))
    alone = replace(lm, model=lambda ids: sure.model(input_ids=ids))
    with torch.no_grad():
        whole = torch.tensor([[brute_force(alone, prompt, label) for label in labels] for prompt in prompts])
        actual = score_labels(sure, prompts, labels)
    assert actual.argmax(1).tolist() == whole.argmax(1).tolist()
    assert torch.allclose(actual.softmax(1), whole.softmax(1), atol=answers.NEGLIGIBLE)
    assert (actual >= whole - 1e-3).all()
    assert sure.model.read < share * len(prompts) * sum(len(label) - 1 for label in labels)
    one_by_one = torch.cat([score_labels(sure, [prompt], labels) for prompt in prompts[:9]])
    assert torch.allclose(one_by_one.softmax(1), actual[:9].softmax(1), atol=1e-4)


def test_labels_that_start_with_another_label_or_equal_it_are_scored_apart(lm):
    (prompt,) = encode_prompts(lm, ["hello"])
    labels = [[5, 6], [5], [5, 6, 7], [8], [5, 6]]
    expected = [brute_force(lm, prompt, label) for label in labels]
    assert score_labels(lm, [prompt], labels)[0].tolist() == pytest.approx(expected, abs=1e-4)


def test_out_of_memory_makes_batches_smaller(lm, monkeypatch, capsys):
    prompts = encode_prompts(lm, [text + "\nQueue:" for text, _ in planted_rows(30)])
    labels = encode_answers(lm, ["delivery", "account"])
    scores, written = score_labels(lm, prompts, labels), write_answers(lm, prompts, 3)
    whole, most = lm.model.forward, 9

    def with_little_memory(*args, **kwargs):
        if len(kwargs["input_ids"]) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(*args, **kwargs)

    monkeypatch.setattr(lm.model, "forward", with_little_memory)
    assert torch.allclose(score_labels(lm, prompts, labels), scores, atol=1e-4)
    assert "out of memory with 30 rows per batch; from here on 15" in capsys.readouterr().err
    assert [w.text for w in write_answers(lm, prompts, 3)] == [w.text for w in written]
    most = 0
    with pytest.raises(ModelError, match=r"(?s)a single row is out of memory.*tokens.*leave out the longest rows"):
        score_labels(lm, prompts, labels)


def test_other_errors_of_answering_are_raised(lm, monkeypatch):
    monkeypatch.setattr(lm.model, "forward", lambda *a, **k: (_ for _ in ()).throw(RuntimeError("shapes differ")))
    with pytest.raises(RuntimeError, match="shapes differ"):
        write_answers(lm, [[1, 2], [3]], 3)


def test_answers_that_are_not_numbers_are_an_error_that_names_the_base(base_folder):
    lm = load(Base(str(base_folder)), base_folder)
    with torch.no_grad():
        lm.model.lm_head.weight[3, 0] = float("nan")
    for ask in (lambda: score_labels(lm, [[5, 6], [7]], [[8, 2], [9, 2]]), lambda: write_answers(lm, [[5, 6], [7]], 3)):
        with pytest.raises(
            ModelError, match=r"(?s)not finite numbers.*2 of 2 rows so far \(100%\), of 2 rows"
        ) as error:
            ask()
        assert "fp32" not in str(error.value) and "convert the base again" in str(error.value)
    lm.model.to(torch.bfloat16)
    with pytest.raises(ModelError, match=r"(?s)too large for this precision.*`train.precision: fp32`"):
        score_labels(lm, [[5, 6], [7]], [[8, 2], [9, 2]])
