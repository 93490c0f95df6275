"""What makes a job impossible, whatever the machine's memory."""

from rungwise.core.errors import Problem, SettingsError
from rungwise.core.texts import number_of
from rungwise.planning.job import Job
from rungwise.planning.need import BYTES_PER_WEIGHT
from rungwise.planning.shape import Shape
from rungwise.planning.trainable import targeted


def check_job(shape: Shape, job: Job) -> None:
    """Checks that a job's settings go together.

    Raises:
        SettingsError: an unknown precision, a method that trains a base in 4 bit, or rows of an impossible size.
    """
    if job.precision not in BYTES_PER_WEIGHT:
        raise SettingsError(
            Problem(
                "there is no such precision", found=job.precision[:40], wanted="one of " + ", ".join(BYTES_PER_WEIGHT)
            )
        )
    if job.precision == "4bit" and job.properties.trains_base:
        raise SettingsError(
            Problem(
                "weights in 4 bit can't be trained",
                found=f"method {job.method} with precision 4bit",
                wanted="a method that trains an adapter, such as lora",
            )
        )
    if not 0 < job.answer_tokens <= job.tokens <= shape.context or job.rows < 1:
        raise SettingsError(
            Problem(
                "rows of this size are not possible with this model",
                found=f"{number_of(job.rows, 'row')} of {job.tokens} tokens, {job.answer_tokens} of them the answer",
                wanted=f"at least one row, answers within rows, at most {shape.context} tokens",
            )
        )


def obstacles(shape: Shape, job: Job) -> tuple[str, ...]:
    """Returns what a job requires that no memory can give it; empty if there is nothing.

    The conditions are those under which `model.adapters` and the loader refuse a rung.
    """
    required, method = [], job.properties
    if job.rank and not method.shares_matrices:
        narrowest = min(min(linear.inputs, linear.outputs) for linear in targeted(shape, job.targets))
        if job.rank > narrowest:
            required.append(f"a rank of at most {narrowest} (it is {job.rank}), or wider targets")
    if job.last_layers > shape.layers:
        required.append(f"at most {number_of(shape.layers, 'layer')} (`layers` is {job.last_layers})")
    if method.takes_positions and job.virtual_tokens + job.tokens > shape.context:
        most = max(0, shape.context - job.tokens)
        required.append(f"at most {number_of(most, 'virtual token')} with rows of {job.tokens} tokens")
    if job.precision == "4bit" and job.device != "cuda":
        required.append("precision bf16 or fp32: 4 bit requires a CUDA device")
    return tuple(required)
