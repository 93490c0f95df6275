"""The GPU's checks, with a small model wherever this runs."""

import subprocess
import sys

from tests.conftest import REPOSITORY, environment


def gpu(*arguments):
    command = [sys.executable, "-m", "benchmarks.gpu", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, env=environment(), capture_output=True, text=True, check=False)


def test_every_check_passes_and_figures_are_printed():
    done = gpu("--tiny")
    assert done.returncode == 0, done.stderr
    checks = done.stdout.splitlines()[:6]
    assert all(line.endswith((" ok", "no GPU")) for line in checks), done.stdout
    assert "tiny long" in done.stdout and '"benchmark": "gpu"' in done.stdout.splitlines()[-1]


def test_without_a_gpu_it_says_so_and_ends_well():
    import torch

    done = gpu()
    assert done.returncode == 0, done.stderr
    if not torch.cuda.is_available():
        assert "there is no CUDA GPU here" in done.stdout
