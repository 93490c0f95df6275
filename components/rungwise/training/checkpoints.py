"""Where a training stands, on disk: written whole or not at all, so that a killed one goes on with equal bits.

A checkpoint is a sealed folder of plain numbers (safetensors, JSON); the last two are kept. It names what it was made
for, and another training refuses it.
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
"""Checkpoints that stay: one may be damaged."""
_NUMBERS, _STATE = "numbers.safetensors", "state.json"


@dataclass(frozen=True)
class Checkpoint:
    """All that the next step depends on."""

    step: int
    """Steps that were done."""
    numbers: Mapping[str, torch.Tensor]
    """Weights, moments, random states, by name."""
    state: Mapping[str, Json]
    """Counts, losses and scores so far."""


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one training."""

    folder: Path
    made_for: Mapping[str, Json]
    """What decides the training's numbers, by name."""
    every: int
    """Steps between two of them."""
    say: Callable[[str], None] = say

    def save(self, checkpoint: Checkpoint) -> None:
        """Writes a checkpoint and removes those that are too old.

        Raises:
            OSError: the disk is full; those before it stay as they were.
        """
        from safetensors.torch import save_file

        def write(part: Path) -> None:
            numbers = {name: value.detach().cpu().contiguous() for name, value in checkpoint.numbers.items()}
            save_file(numbers, part / _NUMBERS)
            state = {"step": checkpoint.step, "state": dict(checkpoint.state), "made_for": dict(self.made_for)}
            write_json(part / _STATE, state)

        write_folder(self.folder / f"{checkpoint.step:08d}", write)
        for old in self._all()[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)

    def last(self) -> Checkpoint | None:
        """Returns the newest whole checkpoint; a damaged one is named and passed over.

        Raises:
            TrainingError: it was made for another training.
        """
        from safetensors.torch import load_file

        for folder in reversed(self._all()):
            if not is_sealed(folder):
                self.say(f"careful: checkpoint {folder} is damaged; the one before it is used")
                continue
            found = read_json(folder / _STATE)
            self._check(folder, found["made_for"])
            return Checkpoint(int(found["step"]), load_file(folder / _NUMBERS), dict(found["state"]))
        return None

    def clear(self) -> None:
        """Removes all of them: the training is done."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _all(self) -> list[Path]:
        return sorted(p for p in self.folder.glob("[0-9]*") if p.is_dir())

    def _check(self, folder: Path, made_for: Mapping[str, Json]) -> None:
        wanted = json.loads(canonical_json(dict(self.made_for)))  # as it stands in a file
        other = [name for name in sorted({*made_for, *wanted}) if made_for.get(name) != wanted.get(name)]
        if other:
            raise TrainingError(
                Problem(
                    "a checkpoint was made for another training",
                    where=str(folder),
                    found=joined([f"{name}: {str(made_for.get(name))[:60]}" for name in other]),
                    wanted=joined([f"{name}: {str(wanted.get(name))[:60]}" for name in other]),
                    do="remove its folder; the training then begins anew",
                )
            )
