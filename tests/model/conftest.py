import pytest
import torch

from rungwise.core.methods import ADAPTING
from rungwise.model import adapters
from rungwise.model.language_model import load
from tests.model.adapted import spec_of_method


@pytest.fixture(params=ADAPTING)
def moved(request, base_folder):
    """A model with an adapter of each method, moved away from its start."""
    spec = spec_of_method(base_folder, request.param)
    tuned = adapters.attach(load(spec.base, base_folder), spec)
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in adapters.trained_weights(tuned).values():
            weight.add_(0.1 * torch.randn(weight.shape, generator=draw))
    tuned.model.eval()
    return tuned, spec
