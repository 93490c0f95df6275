"""Two processes on the CPU: gradients are equal on all ranks, and a model sharded by FSDP2 saves its whole adapter."""

import json
import os
import subprocess
import sys

import pytest
import torch

from rungwise.core.records import Base
from rungwise.model import adapter_files
from rungwise.model.language_model import load
from rungwise.training.loop import train
from rungwise.training.step import loss_sum
from tests.conftest import REPOSITORY, environment, examples
from tests.training.runs import PROMPT, quiet, token_rows
from tests.training.two_processes import METHODS, TEMPLATES, spec_of


@pytest.fixture(scope="module")
def results(tmp_path_factory, base_folder):
    """The folder with the results of two processes; one launch for all tests, because starting them takes long."""
    folder = tmp_path_factory.mktemp("results")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*command, "-m", "tests.training.two_processes", str(base_folder), str(folder)],
        env=environment(OMP_NUM_THREADS="1", PYTHONPATH=f"{REPOSITORY / 'components'}{os.pathsep}{REPOSITORY}"),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    return folder


@pytest.mark.parametrize("kind", TEMPLATES)
@pytest.mark.parametrize("method", METHODS)
def test_ranks_have_equal_gradients_and_the_losses_of_one_process(results, base_folder, method, kind):
    result = json.loads((results / f"{method}-{kind}.json").read_text())
    assert result["equal"] == 3
    base = Base(str(base_folder))
    lm = load(base, base_folder)
    rows, _ = token_rows(lm, TEMPLATES[kind], examples(40))
    alone = train(lm, spec_of(base, method), rows, progress=quiet)
    assert result["losses"] == pytest.approx(alone.losses, rel=1e-4)


def test_a_sharded_model_saves_and_reloads_its_adapter(results, base_folder):
    files = [(results / rank / adapter_files.WEIGHTS).read_bytes() for rank in "01"]
    assert files[0] == files[1]
    lm = adapter_files.load(load(Base(str(base_folder)), base_folder), results / "0")
    rows, _ = token_rows(lm, PROMPT, examples(40))
    with torch.no_grad():
        loss = loss_sum(lm.model, rows[:8], lm)
    torch.testing.assert_close(loss, torch.load(results / "0" / "loss.pt"), atol=1e-3, rtol=1e-4)


def test_accelerate_reads_the_config_files():
    from accelerate.commands.config.config_args import load_config_from_file

    ddp, fsdp = (load_config_from_file(str(REPOSITORY / f"infra/accelerate/{n}.yaml")) for n in ("ddp", "fsdp2"))
    assert ddp.distributed_type == "MULTI_GPU" and fsdp.distributed_type == "FSDP"
    assert fsdp.fsdp_config["fsdp_version"] == 2 and ddp.num_processes == 2
