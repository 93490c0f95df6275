"""The GPU benchmark with a small model, on any machine."""

import json
import subprocess
import sys

from tests.conftest import REPOSITORY, environment


def gpu(*arguments):
    command = [sys.executable, "-m", "benchmarks.gpu", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, env=environment(), capture_output=True, text=True, check=False)


def test_every_check_passes_and_each_shape_is_measured():
    done = gpu("--quick")
    assert done.returncode == 0, done.stderr
    checks = done.stdout.splitlines()[:6]
    assert all(" ok" in line or line.endswith("no GPU") for line in checks), done.stdout
    figures = json.loads(done.stdout.splitlines()[-1])["figures"]
    assert figures["failed checks"]["met"] and figures["tiny long: tokens per second"]["value"] > 0


def test_without_a_gpu_it_says_so_and_succeeds():
    import torch

    done = gpu()
    assert done.returncode == 0, done.stderr
    if not torch.cuda.is_available():
        assert "there is no CUDA GPU" in done.stderr and json.loads(done.stdout)["figures"] == {}
