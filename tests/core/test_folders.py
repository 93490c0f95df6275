import pytest

from rungwise.core import folders
from rungwise.core.errors import WorkspaceError


def test_a_sealed_folder_is_complete_and_trusted(tmp_path):
    folders.write_folder(tmp_path / "out", lambda part: folders.write_json(part / "a" / "x.json", {"k": 1}))
    assert folders.is_sealed(tmp_path / "out")
    assert folders.read_json(tmp_path / "out" / "a" / "x.json") == {"k": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_writer_that_fails_changes_nothing(tmp_path):
    folders.write_folder(tmp_path / "out", lambda part: folders.write_lines(part / "x", "old"))

    def fail(part):
        folders.write_lines(part / "x", "new")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        folders.write_folder(tmp_path / "out", fail)
    assert (tmp_path / "out" / "x").read_text() == "old" and folders.is_sealed(tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("damage", ["change", "add", "remove", "no marker", "no folder"])
def test_a_damaged_folder_is_not_trusted(tmp_path, damage):
    out = tmp_path / "out"
    folders.write_folder(out, lambda part: folders.write_lines(part / "x", "text"))
    {
        "change": lambda: (out / "x").write_text("other"),
        "add": lambda: (out / "y").write_text("more"),
        "remove": lambda: (out / "x").unlink(),
        "no marker": lambda: (out / folders.MARKER).unlink(),
        "no folder": lambda: out.rename(tmp_path / "elsewhere"),
    }[damage]()
    with pytest.raises(WorkspaceError, match="ingest"):
        folders.open_sealed(out, "ingest")


def test_sweep_removes_only_temporary_folders(tmp_path):
    for name in (".out.1234.part", ".out.1234.old", "out", ".other"):
        (tmp_path / name).mkdir()
    folders.sweep(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".other", "out"]


def test_a_file_is_replaced_without_following_a_link(tmp_path):
    (tmp_path / "private").write_text("mine")
    for name in ("shown.txt", ".shown.txt.part"):
        (tmp_path / name).symlink_to(tmp_path / "private")
    folders.replace_text(tmp_path / "shown.txt", "new")
    assert (tmp_path / "private").read_text() == "mine"
    assert (tmp_path / "shown.txt").read_text() == "new" and not (tmp_path / "shown.txt").is_symlink()
