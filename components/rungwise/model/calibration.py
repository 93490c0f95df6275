"""Corrects the labels that an untrained base prefers for any text: an offset for each label's log-likelihood.

Contextual calibration (Zhao et al., 2021, https://arxiv.org/abs/2102.09690) divides by the labels' shares for inputs
without content. Training rows with answers show more: `fitted` chooses the offsets that make their answers likeliest.

Shape letters: N rows, L labels.
"""

from collections.abc import Sequence

import torch

CONTENT_FREE = ("N/A", "", "[MASK]")
"""Inputs without content, as in Zhao et al., 2021."""
RIDGE = 0.5
"""Weight of the squared distance to the prior in `fitted`: on TREC 0.05 and 0.5 give the same within 0.02."""
FOLDS = 4
"""Parts of the rows in `cross_fitted`."""


def content_free(scores_NL: torch.Tensor) -> torch.Tensor:
    """Returns the offsets that make all labels alike for inputs without content, shape (L,), mean 0.

    `scores_NL`: the labels' exact log-likelihoods after each of these inputs.
    """
    return _centred(-torch.softmax(scores_NL.double(), dim=1).mean(0).log())


def fitted(scores_NL: torch.Tensor, expected_N: Sequence[int], prior_L: torch.Tensor) -> torch.Tensor:
    """Returns the offsets for which the expected labels are likeliest, shape (L,), mean 0.

    They are those of a model that multiplies the log-likelihoods by one factor and adds the offsets, with a penalty on
    their distance from `prior_L`, which decides for labels without rows. The result is the prior if the scores say
    nothing about the labels.
    """
    scores = scores_NL.double() - scores_NL.double().mean(1, keepdim=True)
    answers, prior = torch.tensor(expected_N), prior_L.double()
    factor = torch.ones((), dtype=torch.float64, requires_grad=True)
    shift = prior.clone().requires_grad_()  # factor times the offsets, so that the problem is convex
    optimizer = torch.optim.LBFGS([factor, shift], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        wrong = torch.nn.functional.cross_entropy(factor * scores + shift, answers, reduction="sum")
        total = wrong + RIDGE * (shift - factor * prior).square().sum()
        total.backward()
        return total

    with torch.enable_grad():
        optimizer.step(loss)
    scale = float(factor.detach())
    offsets = _centred(shift.detach() / scale) if scale > 1e-3 else prior
    return offsets if bool(offsets.isfinite().all()) else _centred(prior)


def cross_fitted(scores_NL: torch.Tensor, expected_N: Sequence[int], prior_L: torch.Tensor) -> torch.Tensor:
    """Returns the scores plus offsets that were fitted without the row itself: every row's fold is left out once."""
    result_NL = scores_NL.double().clone()
    for fold in range(FOLDS):
        others = [i for i in range(len(scores_NL)) if i % FOLDS != fold]
        own = [i for i in range(len(scores_NL)) if i % FOLDS == fold]
        if own:
            offsets = fitted(scores_NL[others], [expected_N[i] for i in others], prior_L) if others else prior_L
            result_NL[own] += offsets
    return result_NL


def _centred(offsets_L: torch.Tensor) -> torch.Tensor:
    return offsets_L - offsets_L.mean()
