import copy

import pytest
import torch
from torch.nn.functional import cross_entropy

from rungwise.model import limits
from rungwise.model.kernels import answer_loss as losses
from rungwise.model.kernels.answer_loss import IGNORED, answer_loss, frozen_head, hidden_for_logits
from rungwise.model.kernels.last_layer import shorten
from tests.model.kernels.test_last_layer import model_of, padded


def sizes(seed=3, bias=True):
    draw = torch.Generator().manual_seed(seed)
    head = torch.nn.Linear(6, 11, bias=bias).requires_grad_(False)
    hidden = torch.randn(4, 5, 6, generator=draw, requires_grad=True)
    targets = torch.randint(0, 11, (4, 5), generator=draw)
    targets[0, :3] = IGNORED
    targets[2] = IGNORED
    return hidden, head, targets


@pytest.mark.parametrize("at_once", [1, 3, 1000])
@pytest.mark.parametrize("bias", [True, False])
def test_loss_and_gradient_are_those_of_all_logits(monkeypatch, at_once, bias):
    monkeypatch.setattr(limits, "LOSS_MIN_POSITIONS", at_once)
    monkeypatch.setattr(limits, "LOSS_LOGITS", {"cpu": 1, "cuda": 1})
    hidden, head, targets = sizes(bias=bias)
    wanted = cross_entropy(head(hidden).transpose(1, 2), targets, ignore_index=IGNORED, reduction="sum")
    actual = answer_loss(hidden, head, targets)
    assert actual.item() == pytest.approx(wanted.item(), rel=1e-6)
    gradients = [torch.autograd.grad(loss / 7, hidden)[0] for loss in (wanted, actual)]
    assert torch.allclose(*gradients, atol=1e-6) and not gradients[1][2].any()
    with torch.no_grad():
        assert answer_loss(hidden, head, targets).item() == pytest.approx(wanted.item(), rel=1e-6)


def test_extreme_logits_stay_finite():
    hidden, head, targets = sizes()
    loss = answer_loss(hidden * 1e4, head, targets)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(hidden.grad).all()


def test_gradients_are_right_by_finite_differences():
    hidden, head, targets = sizes()
    hidden, head = hidden.detach().double().requires_grad_(), head.double()
    # sums are made in fp32, so that the steps are large
    assert torch.autograd.gradcheck(lambda h: answer_loss(h, head, targets).double(), hidden, eps=1e-2, atol=1e-2)


def test_frozen_head_is_the_output_layer_if_it_alone_makes_the_logits():
    model = model_of("llama").requires_grad_(False)
    assert frozen_head(model) is None  # not made short
    shorten(model)
    head = frozen_head(model)
    assert head is model.lm_head
    inputs = padded(model)
    logits = model(**inputs, logits_to_keep=3).logits
    with hidden_for_logits(head):
        hidden = model(**inputs, logits_to_keep=3).logits
    assert hidden.shape == (3, 3, 16) and torch.allclose(head(hidden), logits)
    with pytest.raises(ZeroDivisionError), hidden_for_logits(head):
        _ = 1 / 0
    assert model(**inputs, logits_to_keep=3).logits.shape == logits.shape
    trained = copy.deepcopy(model)
    trained.lm_head.requires_grad_(True)
    assert frozen_head(trained) is None and frozen_head(model_of("gpt2")) is None


def test_positions_without_a_target_are_not_computed(monkeypatch):
    seen: list[int] = []

    def times(x, *rest):
        seen.append(len(x))
        return torch.nn.functional.linear(x, *rest)

    monkeypatch.setattr(losses, "times", times)
    hidden, head, targets = sizes()
    answer_loss(hidden, head, targets)
    assert sum(seen) == int((targets != IGNORED).sum()) == 12
