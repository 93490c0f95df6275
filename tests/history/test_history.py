"""The versions of the rows, through DVC: accepted, compared, forgotten, pruned, pushed and pulled."""

import hashlib
import json
import shutil
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from rungwise.cli import main as cli
from rungwise.config import DriftSettings
from rungwise.core.errors import DataError, WorkspaceError
from rungwise.core.folders import read_lines
from rungwise.core.table import Table
from rungwise.dataset.drift import profile, shifts
from rungwise.history.accept import accept, check_drift
from rungwise.history.diff import _paired, _Row, diff
from rungwise.history.forget import forget, prune
from rungwise.history.kept import hashes_of, log, outputs_of, profile_of
from rungwise.history.transfer import pull, push
from rungwise.history.uses import uses
from rungwise.release.promote import promote
from rungwise.release.register import register
from rungwise.release.registry import Registry
from rungwise.report.data import prune_text
from rungwise.workspace.dvc import cache_folder, reproduce
from rungwise.workspace.layout import Paths
from tests.conftest import environment, examples, planted_rows, with_dvc, write_workspace

LADDER = "  - {name: classical, method: classical}\n"
RUNG_AND_PARTS = 4
"""Attempts of a climb: the rung, and the same on an eighth, a quarter and half of the rows."""


def run(root):
    reproduce(root)
    return accept(root)


def rows_of(root, side="train"):
    return list(read_lines(root / f"data/split/route/{side}.jsonl"))


@pytest.fixture(scope="module")
def history(tmp_path_factory, base_folder):
    """A workspace with two accepted versions; a row of the first is gone in the second, and one has another label."""
    root = with_dvc(
        write_workspace(tmp_path_factory.mktemp("history") / "ws", base_folder, rows=300, ladder=LADDER, target=0.5)
    )
    first = run(root)
    assert first.is_new and not first.shifts and not accept(root).is_new
    assert register(root, "route").version == 1
    path = root / "data/raw/tickets.csv"
    lines = path.read_text().splitlines()
    gone, changed = rows_of(root)[:2]
    lines[changed["line"] - 1] = (
        f"{changed['fields']['body']},{'repair' if changed['answer'] != 'repair' else 'billing'}"
    )
    more = [f"{text} kayak,{label}" for text, label in planted_rows(600, 5) if label == "billing"]
    path.write_text("\n".join([line for i, line in enumerate(lines) if i != gone["line"] - 1] + more) + "\n")
    second = run(root)
    return root, first, second, gone["id"], changed["id"]


def test_each_accepted_version_adds_a_line_and_keeps_its_lock(history):
    root, first, second, *_ = history
    lines = log(root)
    assert [line["data_version"] for line in lines] == [first.version, second.version]
    assert lines[0]["rows"]["route"]["train"] == lines[0]["rows"]["route"]["train"] > 100
    assert abs(sum(lines[0]["labels"]["route"].values()) - 1) < 1e-3
    assert {p.name for p in Paths(root).versions.iterdir()} == {
        f"{v}.{e}" for v in (first.version, second.version) for e in ("json", "lock")
    }
    assert "kayak" not in (Paths(root).versions / f"{second.version}.json").read_text()


def test_drift_is_reported_with_its_statistic_and_can_stop_the_run(history):
    root, _, second, *_ = history
    moved = {shift.what: shift for shift in second.shifts["route"]}
    assert (
        moved["labels"].is_over
        and "billing (+" in moved["labels"].sentence
        and "more than the 10%" in moved["labels"].sentence
    )
    assert not moved["sources"].is_over and moved["unseen_labels"].distance == 0
    text = (root / "params.yaml").read_text()
    kept = Paths(root).history.read_text()
    Paths(root).history.write_text(kept.splitlines()[0] + "\n")
    (root / "params.yaml").write_text(text.replace("min_rows: 20", "min_rows: 20, drift: {severity: stop}"))
    try:
        for act in (accept, check_drift):
            with pytest.raises(DataError, match=r"(?s)rows drifted.*shares of the labels changed by"):
                act(root)
    finally:
        (root / "params.yaml").write_text(text)
        Paths(root).history.write_text(kept)


def test_a_diff_lists_added_removed_and_changed_rows(history, monkeypatch, capsys):
    root, first, second, gone, changed = history
    result = diff(root, first.version[:6], second.version)["tasks"]["route"]
    assert gone in result["went"] and changed in [old for old, _ in result["changed"]]
    assert set(result["came_by_label"]) == {"billing"} and len(result["came"]) > 20 and result["moved"] == {}
    with pytest.raises(DataError, match="no such data version"):
        diff(root, "nonsense", second.version)
    monkeypatch.chdir(root)
    assert cli.main(["data", "diff", first.version, second.version]) == 0
    text = capsys.readouterr().out
    assert "removed" in text and "added: billing:" in text
    assert cli.main(["data", "log"]) == 0
    text = capsys.readouterr().out
    assert text.index(second.version) < text.index(first.version) and "billing" in text and "warning: route:" in text


SSH_SERVER = """
import asyncio, sys, asyncssh

async def main():
    key, host = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    key.write_private_key(sys.argv[1])
    allowed = asyncssh.import_authorized_keys(key.export_public_key().decode())
    server = await asyncssh.create_server(
        asyncssh.SSHServer, "127.0.0.1", 0, server_host_keys=[host], authorized_client_keys=allowed, sftp_factory=True
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.sleep(300)

asyncio.run(main())
"""


@contextmanager
def ssh_server(key):
    """An SSH server with SFTP on loopback that lets in whoever has the key in the file; yields its port."""
    command = [sys.executable, "-c", SSH_SERVER, str(key)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield int(server.stdout.readline())
        finally:
            server.kill()


@pytest.mark.parametrize("kind", ["folder", "ssh"])
def test_pushed_rows_are_pulled_back(history, tmp_path, kind):
    root = history[0]
    (tmp_path / "remote").mkdir()

    def dvc(*command):
        subprocess.run(
            [sys.executable, "-m", "dvc", *command], cwd=root, env=environment(), check=True, capture_output=True
        )

    with ExitStack() as stack:
        address, key = str(tmp_path / "remote"), None
        if kind == "ssh":
            key = tmp_path / "key"
            port = stack.enter_context(ssh_server(key))
            key.chmod(0o600)
            address = f"ssh://tester@127.0.0.1:{port}{tmp_path / 'remote'}"
        dvc("remote", "add", "-f", "-d", "store", address)
        if key:
            dvc("remote", "modify", "store", "keyfile", str(key))
        for command in (["add", "-A"], ["commit", "-qm", "rows", "--allow-empty"]):
            subprocess.run(["git", *command], cwd=root, check=True, capture_output=True)
        push(root)
        assert any((tmp_path / "remote").rglob("*.dir"))
        cache = cache_folder(root)
        kept = shutil.move(cache, tmp_path / "kept")
        before = (root / "data/split/route/train.jsonl").read_bytes()
        try:
            shutil.rmtree(root / "data/split")
            versions = [line["data_version"] for line in log(root)]
            with pytest.raises(WorkspaceError, match="not in DVC's cache"):
                diff(root, *versions)
            pull(root)
            assert (root / "data/split/route/train.jsonl").read_bytes() == before
            assert diff(root, *versions)["tasks"]["route"]["came"]  # the older version's rows came too
            assert not list(root.glob(".versions-*"))
            lost = sorted(objects(root, versions[0]) - objects(root, versions[1]))[0]
            for folder in (cache, tmp_path / "remote" / "files" / "md5"):
                (folder / lost[:2] / lost[2:]).unlink()
            assert f"the remote lacks some of the rows of {versions[0]}" in pull(root)
        finally:
            shutil.rmtree(cache, ignore_errors=True)
            shutil.move(kept, cache)


def test_push_and_pull_without_a_remote_are_errors(tmp_path):
    root = with_dvc(tmp_path)
    for act in (push, pull):
        with pytest.raises(WorkspaceError, match=r"(?s)no remote.*dvc remote add"):
            act(root)


def test_commands_outside_a_workspace_create_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for command in (["data", "log"], ["collect"], ["generate", "route"], ["promote", "route"]):
        assert cli.main(command) == 2
        assert "no params.yaml here" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def with_word(root, word):
    return [
        p.relative_to(root).as_posix()
        for p in root.rglob("*")
        if p.is_file() and ".git/" not in p.as_posix() and word in p.read_bytes()
    ]


def test_a_purged_row_leaves_no_trace_in_the_workspace(tmp_path, base_folder, monkeypatch, capsys):
    root = with_dvc(write_workspace(tmp_path / "ws", base_folder, rows=300, ladder=LADDER, target=0.5))
    path = root / "data/raw/tickets.csv"
    texts = [f"zanzibar {chr(97 + i) * 7} {chr(107 + i) * 5} parcel {chr(98 + i) * 9}" for i in range(6)]
    path.write_text(path.read_text() + "".join(f"{text},delivery\n" for text in texts))
    reproduce(root, "ingest")  # a run that is never accepted leaves its objects in the cache
    path.write_text(path.read_text() + "a last one about the refund today,billing\n")
    first = run(root)
    planted = next(row for row in rows_of(root) if "zanzibar" in row["fields"]["body"])
    others = [row["id"] for side in ("train", "dev", "test") for row in rows_of(root, side)]
    assert register(root, "route").version == 1 and promote(root, "route").action == "promote"
    # a second climb on the same rows: another prompt makes another attempt
    params = (root / "params.yaml").read_text()
    (root / "params.yaml").write_text(params.replace("Queue:", "Team:"))
    assert run(root).version == first.version and register(root, "route").version == 2
    used = uses(root, planted["id"])
    assert len(used["attempts"]) == 2 * RUNG_AND_PARTS and used["champions"] == ["route"]
    # one that was made from it stays in data/raw until somebody deletes it
    (root / "data/raw/generated.jsonl").write_text(
        json.dumps({"body": "the parcel of a friend", "queue": "delivery", "parents": planted["id"]}) + "\n"
    )
    source = "    - {name: generated, path: generated.jsonl, parents: parents}\n"
    (root / "params.yaml").write_text(params.replace("  sources:\n", "  sources:\n" + source))
    path.write_text("".join(x for x in path.read_text().splitlines(keepends=True) if "zanzibar" not in x))
    with pytest.raises(DataError, match="still among today's rows"):
        forget(root, planted["id"])
    run(root)
    monkeypatch.chdir(root)
    assert cli.main(["data", "docs"]) == 0
    assert "mlartifacts" in str(with_word(root, b"zanzibar"))
    capsys.readouterr()
    assert cli.main(["data", "forget", planted["id"], "--purge"]) == 0
    text = capsys.readouterr().out
    assert "route lost its champion" in text and "generated line 1" in text and "git's history" in text
    assert with_word(root, b"zanzibar") == [] and planted["id"] in others
    assert Registry(root).versions("route") == []


def test_an_unknown_row_is_an_error_without_purge_too(copied, monkeypatch, capsys):
    monkeypatch.chdir(copied)
    assert cli.main(["data", "forget", "nonsense"]) == 2
    assert "no version of the rows holds such a row" in capsys.readouterr().err


def rows(*texts):
    return {i: _Row(i, "train", answer, f"s\n{text}") for i, text, answer in texts}


@pytest.mark.parametrize(
    ("old", "new", "pairs", "went", "came"),
    [
        # one text with two labels: the second came, and the first did not change
        ([("a", "t", "x")], [("a", "t", "x"), ("b", "t", "y")], [], [], ["b"]),
        ([("a", "t", "x"), ("b", "t", "y")], [("b", "t", "y")], [], ["a"], []),
        ([("a", "t", "x")], [("b", "t", "y")], [("a", "b")], [], []),
        # two with one text: each keeps its own partner, by its answer first
        ([("a", "t", "x"), ("b", "t", "y")], [("c", "t", "y"), ("d", "t", "z")], [("a", "d"), ("b", "c")], [], []),
        ([("a", "t", "x")], [("b", "u", "x")], [], ["a"], ["b"]),
    ],
)
def test_rows_of_two_versions_are_paired(old, new, pairs, went, came):
    assert _paired(rows(*old), rows(*new)) == (pairs, went, came)


def test_a_diff_lists_rows_edited_in_case_and_tasks_of_one_version_only(copied, monkeypatch, capsys):
    path = copied / "data/raw/tickets.csv"
    row = rows_of(copied)[0]
    lines = path.read_text().splitlines()
    lines[row["line"] - 1] = f"{row['fields']['body'].upper()},{row['answer']}"
    path.write_text("\n".join(lines) + "\n")
    text = (copied / "params.yaml").read_text()
    (copied / "params.yaml").write_text(
        text.replace("  route:\n", "  route: &route\n").replace("bars: {", "  more: *route\nbars: {more: 0.5, ")
    )
    old = log(copied)[-1]["data_version"]
    new = run(copied).version
    result = diff(copied, old, new)
    assert [x for x, _ in result["tasks"]["route"]["edited"]] == [row["id"]] and result["new_tasks"] == ["more"]
    assert not result["tasks"]["route"]["came"] and not result["tasks"]["route"]["changed"]
    monkeypatch.chdir(copied)
    assert cli.main(["data", "diff", new, old]) == 0
    text = capsys.readouterr().out
    assert "1 edited only in letter case" in text and "therefore not compared: task more" in text


@pytest.fixture
def copied(history, tmp_path):
    root = tmp_path / "ws"
    shutil.copytree(history[0], root, symlinks=True)
    return root


def objects(root, version):
    raw = {outputs_of(lock)["data/raw"] for lock in Paths(root).versions.glob("*.lock")}
    return set(hashes_of(root, version)) - raw


def test_forgetting_a_row_removes_everything_that_used_it(copied, history, monkeypatch, capsys):
    _, first, second, gone, _ = history
    result = uses(copied, gone)
    assert result["versions"] == [first.version] and len(result["attempts"]) == RUNG_AND_PARTS and not result["raw"]
    # the incumbent answered it too, and its answers are outside the versions
    asked = Paths(copied).attempts / "asked" / "k.json"
    answers = Paths(copied).incumbent / "route" / "predictions.jsonl"
    for path, text in ((asked, json.dumps({"rows": [gone]})), (answers, json.dumps({"id": gone}) + "\n")):
        path.parent.mkdir(parents=True)
        path.write_text(text)
    assert uses(copied, gone)["scored"] == [*result["scored"], "asked/k.json"]
    only_first = objects(copied, first.version) - objects(copied, second.version)
    assert only_first
    vectors = Paths(copied).attempts / "vectors-0123-4567"  # of texts, one of which may be the row's
    vectors.mkdir()
    done = forget(copied, gone)
    assert not vectors.exists()
    assert done["objects"] >= len(only_first) and [line["data_version"] for line in log(copied)] == [second.version]
    cache = cache_folder(copied)
    assert not any((cache / md5[:2] / md5[2:]).exists() for md5 in only_first)
    assert all((cache / md5[:2] / md5[2:]).exists() for md5 in objects(copied, second.version))
    assert not (Paths(copied).attempts / f"train-{result['attempts'][0]}").exists()
    assert not asked.exists() and not answers.parent.exists()
    text = "".join(p.read_text(errors="replace") for p in cache.rglob("*") if p.is_file())
    assert gone not in text
    with pytest.raises(DataError, match="no version of the rows holds such a row"):
        forget(copied, gone)


def add_version(root, like, name):
    """Adds an accepted version whose objects are copies of those of another, under other names."""
    cache, lock = cache_folder(root), Paths(root).versions / f"{like}.lock"
    text = lock.read_text()
    for md5 in objects(root, like):
        entries = json.loads((cache / md5[:2] / md5[2:]).read_text())
        for entry in entries:
            content = (cache / entry["md5"][:2] / entry["md5"][2:]).read_bytes()
            entry["md5"] = _object(cache, entry["md5"], name, content)
        text = text.replace(md5, _object(cache, md5, name, json.dumps(entries).encode()))
    (Paths(root).versions / f"{name}.lock").write_text(text)
    line = {**log(root)[-1], "data_version": name}
    with Paths(root).history.open("a") as stream:
        stream.write(json.dumps(line) + "\n")


def _object(cache, md5, name, content):
    renamed = (hashlib.md5((md5 + name).encode()).hexdigest()) + md5[32:]
    path = cache / renamed[:2] / renamed[2:]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return renamed


def test_forgetting_parses_only_the_versions_that_hold_the_row(copied, history, monkeypatch):
    _, first, second, gone, _ = history
    tables, locks = [], []
    read, load = Table.read, YAML.load

    def read_counted(path):
        tables.append(path)
        return read(path)

    def load_counted(self, path):
        locks.append(path)
        return load(self, path)

    monkeypatch.setattr(Table, "read", read_counted)
    monkeypatch.setattr(YAML, "load", load_counted)
    result = uses(copied, gone)
    n_tables = len(tables)
    assert result["versions"] == [first.version] and n_tables
    names = [f"{number:012x}" for number in range(20)]
    for name in names:
        add_version(copied, second.version, name)
    tables.clear()
    done = forget(copied, gone)
    assert len(tables) == n_tables and done["versions"] == [first.version] and not done["unseen"]
    parsed = [path for path in locks if isinstance(path, Path) and path.parent == Paths(copied).versions]
    assert len(parsed) == len(set(parsed)) == len(names) + 2  # each once
    assert [line["data_version"] for line in log(copied)] == [second.version, *names]


def test_a_row_is_forgotten_after_a_kill_that_left_some_of_its_objects(copied, history):
    _, first, second, gone, _ = history
    cache = cache_folder(copied)
    only_first = objects(copied, first.version) - objects(copied, second.version)
    lock = Paths(copied).versions / f"{first.version}.lock"
    folder = outputs_of(lock)["data/ingest"]
    (cache / folder[:2] / folder[2:]).unlink()
    done = forget(copied, gone)
    assert done["versions"] == [first.version]
    assert not any((cache / md5[:2] / md5[2:]).exists() for md5 in only_first)
    text = "".join(p.read_text(errors="replace") for p in cache.rglob("*") if p.is_file())
    assert gone not in text


def test_a_row_that_is_still_in_use_is_not_forgotten(copied, history, monkeypatch, capsys):
    _, _, second, *_ = history
    row = rows_of(copied)[0]["id"]
    with pytest.raises(DataError, match=r"(?s)still among today's rows.*tickets line"):
        forget(copied, row)
    monkeypatch.chdir(copied)
    assert cli.main(["data", "forget", row]) == 0
    assert "delete it there first" in capsys.readouterr().out
    assert cli.main(["data", "forget", row, "--json"]) == 0
    assert second.version in json.loads(capsys.readouterr().out)["versions"]
    assert cli.main(["data", "forget", row, "--purge"]) == 2


def test_pruning_keeps_versions_that_a_registered_version_names(history, tmp_path):
    root, first, second, *_ = history
    copied = tmp_path / "elsewhere"
    shutil.copytree(root, copied, symlinks=True)
    assert [v.number for v in Registry(copied).versions("route")] == [1]
    result = prune(copied, 1)
    assert result["dropped"] == [] and result["named"] == {first.version: ["route/1"]}
    assert f"{first.version} is kept: route/1 in the registry" in prune_text(result)
    assert "only 2 versions exist, not more than --keep" in prune_text(prune(copied, 5))
    (copied / "mlflow.db").unlink()
    result = prune(copied, 1)
    assert result["dropped"] == [first.version] and result["kept"] == [second.version] and result["objects"] > 0


def test_a_registered_version_is_deleted_with_its_files(history):
    root = history[0]
    registry = Registry(root)
    (version,) = registry.versions("route")
    registry.delete("route", version.number)
    assert registry.versions("route") == [] and not list((root / "mlartifacts/models").glob("*/artifacts"))


def test_equal_rows_do_not_drift_and_chance_is_not_drift():
    rows = examples(400)
    one = profile(Table.of(rows), has_labels=True)
    assert not any(s.is_over or s.distance for s in shifts(DriftSettings(), one, one))
    halves = [profile(Table.of(rows[i::2]), has_labels=True) for i in (0, 1)]
    assert not any(s.is_over for s in shifts(DriftSettings(), *halves))
    other = profile(Table.of([e for e in rows if e.answer != "repair"]), has_labels=True)
    result = {s.what: s for s in shifts(DriftSettings(), other, one)}
    assert result["unseen_labels"].is_over and "mostly repair" in result["unseen_labels"].sentence


@pytest.mark.parametrize("content", [b"", b'{"route": {"al', b"[]", b"\0" * 20, b'{"route": 3}'])
def test_a_damaged_profile_is_named(tmp_path, content):
    path = tmp_path / "data/versions/one.json"
    path.parent.mkdir(parents=True)
    assert profile_of(tmp_path, "one") == {}
    path.write_bytes(content)
    with pytest.raises(WorkspaceError, match=r"(?s)profile of a version can't be read.*one.json"):
        profile_of(tmp_path, "one")


@pytest.mark.parametrize("content", [b"\0" * 200, b"stages: [", b"- a\n", b"stages: {a: {deps: [3]}}\n"])
def test_a_damaged_lock_of_a_version_is_named(tmp_path, content):
    path = tmp_path / "one.lock"
    path.write_bytes(content)
    with pytest.raises(WorkspaceError, match=r"(?s)file of DVC can't be read.*one.lock"):
        outputs_of(path)
