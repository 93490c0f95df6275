import os

import pytest
from pydantic import ValidationError

from rungwise.core.errors import DataError
from rungwise.dataset.collect.fingerprints import FINGERPRINTS
from tests.dataset.conftest import collect_settings as settings
from tests.dataset.conftest import run_collect as run


def test_a_link_out_of_data_raw_is_an_error(tmp_path):
    (tmp_path / "in.csv").write_text("x")
    (tmp_path / "raw").mkdir()
    (tmp_path / "else").mkdir()
    (tmp_path / "raw/out").symlink_to(tmp_path / "else")
    with pytest.raises(DataError, match="outside data/raw"):
        run(tmp_path, settings(**{"from": "in.csv", "to": "out/x.csv"}))


def test_a_full_disk_leaves_nothing_half_written(tmp_path, monkeypatch):
    (tmp_path / "mails.csv").write_text("new")
    (tmp_path / "mails.csv").write_text("old")
    run(tmp_path, settings(**{"from": "mails.csv"}))
    (tmp_path / "mails.csv").write_text("new")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="No space left"):
        run(tmp_path, settings(**{"from": "mails.csv"}))
    assert (
        sorted(os.listdir(tmp_path / "raw")) == [FINGERPRINTS, "x.csv"]
        and (tmp_path / "raw/x.csv").read_text() == "old"
    )


@pytest.mark.parametrize("target", ["../x.csv", "/x.csv", ".hidden", "SOURCES.json"])
def test_a_target_stays_in_data_raw(target):
    with pytest.raises(ValidationError):
        settings(**{"from": "a", "to": target})
