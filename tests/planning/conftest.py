"""A workspace whose rows are prepared once for all tests of the plan."""

import shutil
from pathlib import Path

import pytest

from rungwise.config import Settings, load
from rungwise.pipeline.stages import run_stage
from tests.conftest import write_workspace


@pytest.fixture
def settings(workspace: Path) -> Settings:
    return load(workspace / "params.yaml")


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory, base_folder: Path) -> Path:
    root = write_workspace(tmp_path_factory.mktemp("prepared") / "workspace", base_folder)
    for verb in ("ingest", "validate", "split", "augment"):
        run_stage(root, verb)
    return root


@pytest.fixture
def ready(tmp_path: Path, prepared: Path) -> Path:
    """A copy of the prepared workspace, which the test may change."""
    return shutil.copytree(prepared, tmp_path / "ready", symlinks=True)
