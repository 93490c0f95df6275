import pytest

from rungwise.core.records import Base
from rungwise.model.language_model import load


@pytest.fixture
def lm(base_folder):
    return load(Base(str(base_folder)), base_folder)
