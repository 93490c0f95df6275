"""Compares the processor time of two ways to do the same."""

import time
from collections.abc import Callable

import torch


def time_ratio(ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> float:
    """Returns the least processor time of `ours` over that of `theirs`.

    They run in turns, so that other load meets both, and on one thread, so that threads don't spin while they wait for
    each other.
    """
    best = [float("inf"), float("inf")]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(rounds + 1):  # the first warms up, and is hardly ever the best
            for place, act in enumerate((ours, theirs)):
                started = time.process_time()
                act()
                best[place] = min(best[place], time.process_time() - started)
    finally:
        torch.set_num_threads(threads)
    return best[0] / best[1]
