import pytest

from rungwise.core.errors import DataError
from rungwise.core.folders import read_json
from rungwise.dataset.collect.fingerprints import FINGERPRINTS
from tests.dataset.conftest import collect_all as whole
from tests.dataset.conftest import collect_settings as settings
from tests.dataset.conftest import run_collect as run


def test_fingerprints_that_can_not_be_read_are_an_error(tmp_path):
    (tmp_path / "a.csv").write_text("x")
    (tmp_path / "raw").mkdir()
    for text in ("{", "[]", '{"a": 1}', '{"a": {}}'):
        (tmp_path / "raw" / FINGERPRINTS).write_text(text)
        with pytest.raises(DataError, match="fingerprints of the collected files"):
            run(tmp_path, settings(**{"from": "a.csv"}))


def test_files_of_a_source_that_is_no_longer_named_are_reported_and_stay(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.csv").write_text(name)
    one, two = (settings(**{"from": f"{n}.csv"}, name=n, to=f"{n}.csv") for n in "ab")
    assert whole(tmp_path, one, two).orphans == ()
    for _ in range(2):
        assert whole(tmp_path, one).orphans == ("b.csv",)
        assert read_json(tmp_path / "raw" / FINGERPRINTS)["b"]["orphaned"] and (tmp_path / "raw/b.csv").is_file()
    renamed = two.model_copy(update={"name": "c"})
    assert whole(tmp_path, one, renamed).orphans == ()
    assert set(read_json(tmp_path / "raw" / FINGERPRINTS)) == {"a", "c"}
    (tmp_path / "raw/b.csv").unlink()
    assert whole(tmp_path, one).orphans == ()
    assert set(read_json(tmp_path / "raw" / FINGERPRINTS)) == {"a"}
