"""How many parameters a job trains, and how many it adds without training them.

Counts are exact: tests compare them with the adapters that PEFT makes and with those that a rung trains.
"""

from collections.abc import Sequence

from rungwise.core.errors import Problem, SettingsError
from rungwise.core.folders import joined
from rungwise.planning.job import Job
from rungwise.planning.shape import Linear, Shape

ALL_LINEAR = "all-linear"


def targeted(shape: Shape, targets: Sequence[str]) -> tuple[Linear, ...]:
    """Returns the matrices of a layer that `targets` name; `all-linear` names all of them, as in PEFT.

    Raises:
        SettingsError: a target matches no matrix.
    """
    if tuple(targets) == (ALL_LINEAR,):
        return shape.linears
    known = {linear.name.rpartition(".")[2] for linear in shape.linears} | {linear.name for linear in shape.linears}
    unknown = [target for target in targets if target not in known]
    if unknown:
        raise SettingsError(
            Problem(
                "a target module matches nothing",
                where=f"{shape.model_type}: targets",
                found=unknown[0][:60],
                wanted="one of " + joined(sorted(known), 20),
                do="correct the rung's `targets`, or leave them out for all linear layers",
            )
        )
    return tuple(
        linear for linear in shape.linears if linear.name in targets or linear.name.rpartition(".")[2] in targets
    )


def trainable_parameters(shape: Shape, job: Job) -> int:
    """Returns how many parameters a job trains.

    Raises:
        SettingsError: a target matches no matrix.
    """
    linears = targeted(shape, job.targets)
    low_rank = job.rank * sum(linear.inputs + linear.outputs for linear in linears)
    outputs = sum(linear.outputs for linear in linears)
    last_layers = min(job.last_layers, shape.layers)
    counts = {
        "embed": 0,
        "prompt": 0,
        "full": shape.parameters,
        "lora": shape.layers * low_rank,
        "rslora": shape.layers * low_rank,
        "pissa": shape.layers * low_rank,
        "sparse": shape.layers * low_rank,  # as many entries as low-rank matrices of this rank have
        "dora": shape.layers * (low_rank + outputs),
        "vera": shape.layers * (outputs + job.rank * len(linears)),
        "ia3": shape.layers * _scaled_by_ia3(shape),
        "prompt-tuning": job.virtual_tokens * shape.width,
        "prefix-tuning": job.virtual_tokens * shape.layers * 2 * shape.key_width,
        "llama-adapter": last_layers * (job.virtual_tokens * shape.width + 1),  # and a gate in each layer
        "layer-norm": (shape.norms * shape.layers + 1) * shape.norm_parameters,
        "value-bias": shape.layers * shape.key_width,
        "last-layers": last_layers * shape.layer_parameters,
    }
    return counts[job.method]


def _scaled_by_ia3(shape: Shape) -> int:
    """Returns how many features of one layer (IA)3 scales.

    Keys, values and the input of the last feed-forward matrix (Liu et al., 2022, https://arxiv.org/abs/2205.05638).
    Where one matrix makes queries, keys and values, PEFT scales all three.
    """
    scaled = sum(linear.outputs for linear in shape.linears if linear.role in ("key", "value", "fused"))
    return scaled + sum(linear.inputs for linear in shape.linears if linear.role == "down")


def frozen_adapter_parameters(shape: Shape, job: Job) -> int:
    """Returns how many parameters a job adds and never trains: the two random matrices that all targets share."""
    if not job.properties.shares_matrices:
        return 0
    linears = targeted(shape, job.targets)
    return job.rank * (max(linear.inputs for linear in linears) + max(linear.outputs for linear in linears))
