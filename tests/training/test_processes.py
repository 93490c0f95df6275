"""Two processes on the CPU: gradients are equal on all ranks, and a model sharded by FSDP2 saves its whole adapter."""

import json
import os
import subprocess
import sys

import pytest
import torch

from rungwise.core.records import AttemptSpec, Base
from rungwise.model import adapter_files
from rungwise.model.language_model import load
from rungwise.training.batches import encode, token_rows
from rungwise.training.loop import train
from rungwise.training.step import loss_sum
from tests.conftest import REPOSITORY, environment, examples

RANKS = """
import json
import sys
from pathlib import Path
import torch
from accelerate import Accelerator
from rungwise.model.language_model import load
from rungwise.model.kernels.shared_prefix import shared_tokens
from rungwise.core.records import AttemptSpec, Base
from rungwise.training import loop
from rungwise.training.batches import encode, token_rows
from tests.conftest import examples
base = Base(sys.argv[1])
lm = load(base, Path())
rows, _ = token_rows(lm, encode(lm, sys.argv[3], examples(40)))
assert bool(shared_tokens([row.prompt for row in rows])) == (len(sys.argv[3]) > 40)
seen = []
real = torch.optim.AdamW.step
def step(self, *a, **k):
    seen.append(torch.cat([p.grad.flatten() for group in self.param_groups for p in group["params"]]).clone())
    return real(self, *a, **k)
torch.optim.AdamW.step = step
spec = AttemptSpec(base, sys.argv[2], "{body}", ("a",), rank=4, tokens=4, steps=3, batch_size=7, learning_rate=1e-3, seed=1)
made = loop.train(lm, spec, rows, progress=lambda *a: None)
accelerator = Accelerator(cpu=True)
assert accelerator.num_processes == 2, accelerator.num_processes
for gradient in seen:
    both = accelerator.gather(gradient[None])
    assert torch.equal(both[0], both[1]) and float(both.abs().sum()) > 0
if accelerator.is_main_process:
    Path(sys.argv[4]).write_text(json.dumps(made.losses))
print("EQUAL", len(seen))
"""

SHARDS = """
import sys
from pathlib import Path
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from rungwise.model import adapter_files, adapters
from rungwise.model.language_model import load
from rungwise.model.kernels.low_rank import fuse
from rungwise.core.records import AttemptSpec, Base
from rungwise.training.batches import encode, token_rows
from rungwise.training.step import loss_sum
from tests.conftest import examples
dist.init_process_group("gloo")
mesh = init_device_mesh("cpu", (2,))
base, out = Base(sys.argv[1]), Path(sys.argv[2]) / str(dist.get_rank())
out.mkdir()
spec = AttemptSpec(base, "lora", "{body}", ("a",), rank=4, seed=1)
tuned = adapters.attach(load(base, Path()), spec)
fuse(tuned.model)
for layer in adapters.decoder_layers(tuned.model):
    fully_shard(layer, mesh=mesh)
fully_shard(tuned.model, mesh=mesh)
rows, _ = token_rows(tuned, encode(tuned, "{body}\\nQueue:", examples(40)))
optimizer = torch.optim.AdamW([p for p in tuned.model.parameters() if p.requires_grad], lr=1e-2)
for _ in range(3):
    optimizer.zero_grad()
    loss = loss_sum(tuned.model, rows[:8], tuned) / 8
    loss.backward()
    optimizer.step()
tuned.model.eval()
with torch.no_grad():
    torch.save(loss_sum(tuned.model, rows[:8], tuned), out / "loss.pt")
adapter_files.save(tuned, spec, out)
print("SAVED")
"""


def torchrun(tmp_path, code, *arguments):
    (tmp_path / "script.py").write_text(code)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    return subprocess.run(
        [*command, str(tmp_path / "script.py"), *map(str, arguments)],
        env=environment(OMP_NUM_THREADS="1", PYTHONPATH=f"{REPOSITORY / 'components'}{os.pathsep}{REPOSITORY}"),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


INSTRUCTED = "Sort the mail of a customer into one of the queues that stand below.\n{body}\nQueue:"


@pytest.mark.parametrize("template", ["{body}\nQueue:", INSTRUCTED], ids=["short", "instructed"])
@pytest.mark.parametrize("method", ["lora", "prompt-tuning", "prefix-tuning"])
def test_ranks_have_equal_gradients_and_the_losses_of_one_process(tmp_path, base_folder, method, template):
    done = torchrun(tmp_path, RANKS, base_folder, method, template, tmp_path / "losses.json")
    assert done.returncode == 0 and done.stdout.count("EQUAL") == 2, done.stdout + done.stderr[-3000:]
    base = Base(str(base_folder))
    lm = load(base, base_folder)
    rows, _ = token_rows(lm, encode(lm, template, examples(40)))
    how = {"rank": 4, "tokens": 4, "steps": 3, "batch_size": 7, "learning_rate": 1e-3, "seed": 1}
    alone = train(lm, AttemptSpec(base, method, "{body}", ("a",), **how), rows, progress=lambda *_: None)
    assert json.loads((tmp_path / "losses.json").read_text()) == pytest.approx(alone.losses, rel=1e-4)


def test_a_sharded_model_saves_and_reloads_its_adapter(tmp_path, base_folder):
    done = torchrun(tmp_path, SHARDS, base_folder, tmp_path)
    assert done.returncode == 0 and done.stdout.count("SAVED") == 2, done.stdout + done.stderr[-3000:]
    files = [(tmp_path / rank / adapter_files.WEIGHTS).read_bytes() for rank in "01"]
    assert files[0] == files[1]
    lm = adapter_files.load(load(Base(str(base_folder)), base_folder), tmp_path / "0")
    rows, _ = token_rows(lm, encode(lm, "{body}\nQueue:", examples(40)))
    with torch.no_grad():
        actual = loss_sum(lm.model, rows[:8], lm)
    torch.testing.assert_close(actual, torch.load(tmp_path / "0" / "loss.pt"), atol=1e-3, rtol=1e-4)


def test_accelerate_reads_the_config_files():
    from accelerate.commands.config.config_args import load_config_from_file

    from tests.conftest import REPOSITORY

    ddp, fsdp = (load_config_from_file(str(REPOSITORY / f"infra/accelerate/{n}.yaml")) for n in ("ddp", "fsdp2"))
    assert ddp.distributed_type == "MULTI_GPU" and fsdp.distributed_type == "FSDP"
    assert fsdp.fsdp_config["fsdp_version"] == 2 and ddp.num_processes == 2
