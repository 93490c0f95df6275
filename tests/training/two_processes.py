"""What each of two processes on the CPU does: `torchrun -m tests.training.two_processes BASE OUT`.

Trains every method with every template, compares the gradients of the two processes, and writes OUT/METHOD-KIND.json;
then trains a model sharded by FSDP2 and writes its adapter and loss to OUT/RANK.
"""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from accelerate import Accelerator
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from rungwise.core.records import AttemptSpec, Base
from rungwise.model import adapter_files, adapters
from rungwise.model.kernels.low_rank import fuse
from rungwise.model.kernels.shared_prefix import shared_tokens
from rungwise.model.language_model import load
from rungwise.training import loop
from rungwise.training.step import loss_sum
from tests.conftest import examples
from tests.training.runs import FORM, PROMPT, quiet, token_rows

METHODS = ("lora", "prompt-tuning", "prefix-tuning")
TEMPLATES = {
    "short": PROMPT,
    "instructed": "Sort the mail of a customer into one of the queues that stand below.\n{body}\nQueue:",
}


def spec_of(base: Base, method: str) -> AttemptSpec:
    return AttemptSpec(
        base, method, "{body}", FORM, rank=4, tokens=4, steps=3, batch_size=7, learning_rate=1e-3, seed=1
    )


def compare_gradients(base: Base, out: Path) -> None:
    """Writes the losses and the number of steps after which the gradients of both processes were equal."""
    gradients: list[torch.Tensor] = []
    real = torch.optim.AdamW.step

    def step(self, *arguments, **more):
        parts = [p.grad.flatten() for group in self.param_groups for p in group["params"]]
        gradients.append(torch.cat(parts).clone())
        return real(self, *arguments, **more)

    torch.optim.AdamW.step = step
    for method in METHODS:
        for kind, template in TEMPLATES.items():
            lm = load(base, Path())
            rows, _ = token_rows(lm, template, examples(40))
            assert bool(shared_tokens([row.prompt for row in rows])) == (kind == "instructed")
            gradients.clear()
            trained = loop.train(lm, spec_of(base, method), rows, progress=quiet)
            accelerator = Accelerator(cpu=True)
            assert accelerator.num_processes == 2, accelerator.num_processes
            for gradient in gradients:
                both = accelerator.gather(gradient[None])
                assert torch.equal(both[0], both[1]) and float(both.abs().sum()) > 0
            if accelerator.is_main_process:
                result = {"losses": trained.losses, "equal": len(gradients)}
                (out / f"{method}-{kind}.json").write_text(json.dumps(result))
    torch.optim.AdamW.step = real


def save_shards(base: Base, out: Path) -> None:
    """Trains a sharded model for three steps; writes its whole adapter and its loss."""
    mesh = init_device_mesh("cpu", (2,))
    out.mkdir()
    spec = AttemptSpec(base, "lora", "{body}", FORM, rank=4, seed=1)
    tuned = adapters.attach(load(base, Path()), spec)
    fuse(tuned.model)
    for layer in adapters.decoder_layers(tuned.model):
        fully_shard(layer, mesh=mesh)
    fully_shard(tuned.model, mesh=mesh)
    rows, _ = token_rows(tuned, PROMPT, examples(40))
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


if __name__ == "__main__":
    folder = Path(sys.argv[2])
    compare_gradients(Base(sys.argv[1]), folder)
    save_shards(Base(sys.argv[1]), folder / str(dist.get_rank()))
    dist.destroy_process_group()
