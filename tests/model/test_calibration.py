import numpy as np
import pytest
import torch

from rungwise.model.calibration import RIDGE, content_free, cross_fitted, fitted


def test_inputs_without_content_get_all_labels_alike():
    scores = torch.tensor([[0.7, 0.2, 0.1], [0.7, 0.2, 0.1]]).log() - 5.0
    shares = torch.softmax(scores + content_free(scores), dim=1)
    assert shares.numpy() == pytest.approx(np.full((2, 3), 1 / 3))
    one, other = torch.tensor([[0.9, 0.1]]), torch.tensor([[0.5, 0.5]])
    mean = content_free(torch.cat([one, other]).log())  # the mean of the shares, not of their logarithms
    assert float(mean[1] - mean[0]) == pytest.approx(np.log(0.7 / 0.3))


def biased(n, preference):
    """Rows whose right label is 1 nat likelier than the others, and labels that are likelier whatever the row."""
    draw = torch.Generator().manual_seed(3)
    labels = torch.randint(0, 3, (n,), generator=draw)
    scores = torch.randn(n, 3, generator=draw) * 0.3 + torch.nn.functional.one_hot(labels, 3) * 1.0
    return scores + torch.tensor(preference), labels.tolist()


def test_the_fit_finds_what_the_model_prefers():
    scores, labels = biased(400, (3.0, 0.0, -3.0))
    prior = torch.zeros(3)
    offsets = fitted(scores, labels, prior)
    assert offsets.tolist() == pytest.approx([-3.0, 0.0, 3.0], abs=0.3)
    raw = float((scores.argmax(1) == torch.tensor(labels)).float().mean())
    crossed = float((cross_fitted(scores, labels, prior).argmax(1) == torch.tensor(labels)).float().mean())
    assert raw < 0.5 < 0.85 < crossed


def test_the_fit_is_the_minimum_of_its_loss():
    from scipy.optimize import minimize

    scores, labels = biased(40, (1.0, 0.0, 0.5))
    prior = np.array([0.3, -0.3, 0.0])

    def loss(values):
        logits = values[0] * (scores.double().numpy() - scores.double().numpy().mean(1, keepdims=True)) + values[1:]
        logits = logits - logits.max(1, keepdims=True)
        shares = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        return -shares[range(40), labels].sum() + RIDGE * ((values[1:] - values[0] * prior) ** 2).sum()

    best = minimize(loss, np.array([1.0, 0, 0, 0]), tol=1e-12).x
    expected = best[1:] / best[0]
    assert fitted(scores, labels, torch.tensor(prior)).tolist() == pytest.approx(
        list(expected - expected.mean()), abs=1e-3
    )


def test_without_rows_of_a_label_or_any_signal_the_prior_decides():
    prior = torch.tensor([0.0, 4.0, -4.0], dtype=torch.float64)
    assert torch.isfinite(fitted(torch.zeros(30, 3), [0] * 30, prior)).all()
    scores, labels = biased(60, (0.0, 0.0, 0.0))
    wrong = (-scores).contiguous()  # the likelier, the less right
    assert torch.equal(fitted(wrong, labels, prior), prior)


def test_a_row_is_not_scored_with_its_own_answer():
    scores = torch.zeros(8, 2)
    labels = [0, 1, 0, 1, 0, 1, 0, 1]
    labels[0] = 1
    other = cross_fitted(scores, labels, torch.zeros(2))[0]
    labels[0] = 0
    assert torch.equal(cross_fitted(scores, labels, torch.zeros(2))[0], other)
