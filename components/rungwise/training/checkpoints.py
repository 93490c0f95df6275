"""Checkpoints of a training run: each written whole or not at all, so that a killed run resumes with equal bits.

A checkpoint is a sealed folder with safetensors and JSON; the last two are kept. It records which attempt it belongs
to, and a run of another attempt refuses it.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from rungwise.core.errors import Problem, TrainingError
from rungwise.core.folders import is_sealed, joined, read_json, write_folder, write_json
from rungwise.core.progress import say
from rungwise.core.records import Json, canonical_json

KEPT = 2
"""Checkpoints to keep: the newest may be damaged."""
_TENSORS, _STATE = "tensors.safetensors", "state.json"


@dataclass(frozen=True)
class Checkpoint:
    """Everything that the next step depends on."""

    step: int
    """Steps done."""
    tensors: Mapping[str, torch.Tensor]
    """Weights, moments and random states, by name."""
    state: Mapping[str, Json]
    """Counts, losses and scores so far."""


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one training run."""

    folder: Path
    made_for: Mapping[str, Json]
    """Everything that decides the result of the run, by name."""
    every: int
    """Steps between two checkpoints."""
    say: Callable[[str], None] = say

    def save(self, checkpoint: Checkpoint) -> None:
        """Writes a checkpoint and removes those that are too old.

        Raises:
            OSError: the disk is full; the earlier checkpoints are unchanged.
        """
        from safetensors.torch import save_file

        def write(part: Path) -> None:
            tensors = {name: value.detach().cpu().contiguous() for name, value in checkpoint.tensors.items()}
            save_file(tensors, part / _TENSORS)
            state = {"step": checkpoint.step, "state": dict(checkpoint.state), "made_for": dict(self.made_for)}
            write_json(part / _STATE, state)

        write_folder(self.folder / f"{checkpoint.step:08d}", write)
        for old in self._all()[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)

    def last(self) -> Checkpoint | None:
        """Returns the newest undamaged checkpoint; warns about each damaged one.

        Raises:
            TrainingError: the checkpoint belongs to a run of another attempt.
        """
        from safetensors.torch import load_file

        for folder in reversed(self._all()):
            if not is_sealed(folder):
                self.say(f"warning: checkpoint {folder} is damaged; using the one before it")
                continue
            saved = read_json(folder / _STATE)
            self._check(folder, saved["made_for"])
            return Checkpoint(int(saved["step"]), load_file(folder / _TENSORS), dict(saved["state"]))
        return None

    def clear(self) -> None:
        """Removes all checkpoints: the run is done."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _all(self) -> list[Path]:
        return sorted(p for p in self.folder.glob("[0-9]*") if p.is_dir())

    def _check(self, folder: Path, made_for: Mapping[str, Json]) -> None:
        wanted = json.loads(canonical_json(dict(self.made_for)))  # the types that JSON gives back
        different = [name for name in sorted({*made_for, *wanted}) if made_for.get(name) != wanted.get(name)]
        if different:
            raise TrainingError(
                Problem(
                    "a checkpoint belongs to another training run",
                    where=str(folder),
                    found=joined([f"{name}: {str(made_for.get(name))[:60]}" for name in different]),
                    wanted=joined([f"{name}: {str(wanted.get(name))[:60]}" for name in different]),
                    do="remove its folder; the training run then starts again",
                )
            )
