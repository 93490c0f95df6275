"""Recognizes out-of-memory errors."""

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch is out of memory, on a GPU or on the CPU."""
    text = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in text or "not enough memory" in text
