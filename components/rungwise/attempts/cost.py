"""The cost of an attempt: seconds, memory, device. It differs from run to run and is not part of any hashed output."""

import os
import platform
import sys
import time
from datetime import UTC, datetime
from typing import Any

from rungwise.attempts.store import versions
from rungwise.core.records import AttemptSpec
from rungwise.model.language_model import device_name


def cost_of(spec: AttemptSpec, started: float) -> dict[str, Any]:
    """Returns the cost of an attempt since `started`, a reading of `time.perf_counter`."""
    import torch

    return {
        "seconds": round(time.perf_counter() - started, 3),
        "ended": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "threads": torch.get_num_threads(),
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        "peak_mib": round(peak_mib(), 1),
        "device": device_name() if spec.base else "cpu",
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "versions": versions(),
    }


def peak_mib() -> float:
    """Returns the peak memory of this process in MiB: that of the GPU if it uses one."""
    import resource

    import torch

    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return float(torch.cuda.max_memory_allocated()) / 2**20
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
