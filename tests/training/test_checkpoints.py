import errno

import pytest
import torch

from rungwise.core import folders
from rungwise.core.errors import TrainingError
from rungwise.training.checkpoints import Checkpoint, Checkpoints


def made(step, value=0.0):
    return Checkpoint(step, {"weight.a": torch.full((2, 3), value)}, {"losses": [1.5], "notes": []})


def test_two_checkpoints_are_kept_and_the_newest_is_read(tmp_path):
    checkpoints = Checkpoints(tmp_path / "c", {"seed": 1}, 10)
    assert checkpoints.last() is None
    for step in (10, 20, 30):
        checkpoints.save(made(step, step))
    actual = checkpoints.last()
    assert actual.step == 30 and actual.state["losses"] == [1.5]
    assert torch.equal(actual.tensors["weight.a"], torch.full((2, 3), 30.0))
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == ["00000020", "00000030"]
    checkpoints.clear()
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("damage", ["bytes", "lost", "cut"])
def test_a_damaged_checkpoint_is_skipped_with_a_warning(tmp_path, damage):
    warnings: list[str] = []
    checkpoints = Checkpoints(tmp_path / "c", {"seed": 1}, 10, warnings.append)
    for step in (10, 20):
        checkpoints.save(made(step, step))
    path = tmp_path / "c" / "00000020" / "tensors.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    if damage == "lost":
        path.unlink()
    else:
        path.write_bytes(content if damage == "bytes" else content[:-4])
    assert checkpoints.last().step == 10
    assert "00000020 is damaged; using the one before it" in warnings[0]


def test_a_checkpoint_of_other_settings_or_another_base_is_refused(tmp_path):
    Checkpoints(tmp_path / "c", {"seed": 1, "base": "a", "rank": 4}, 10).save(made(10))
    other = Checkpoints(tmp_path / "c", {"seed": 1, "base": "b", "rank": 8}, 10)
    with pytest.raises(TrainingError, match=r"(?s)another training run.*found:\s+base: a, rank: 4.*wanted:\s+base: b"):
        other.last()


def test_a_full_disk_leaves_the_earlier_checkpoint(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path / "c", {"seed": 1}, 10)
    checkpoints.save(made(10))

    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(folders, "_flush", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoints.save(made(20))
    assert checkpoints.last().step == 10 and len(list((tmp_path / "c").iterdir())) == 1
