import csv
import json

import pytest

from components import cli
from components.errors import RungwiseError
from components.folders import read_lines
from components.generating import fulfil as module
from components.generating.fulfil import fulfil
from components.generating.generate import Reply
from components.stages import run_stage


class Scripted:
    name, concurrency = "scripted", 1

    def __call__(self, ask):
        return Reply(
            tuple(f"refund {ask.seed + i} {chr(97 + i) * 9} {ask.seed * 7919 + i * 104729}" for i in range(ask.n))
        )


@pytest.fixture
def root(workspace, monkeypatch):
    for verb in ("ingest", "validate", "split"):
        run_stage(workspace, verb)
    monkeypatch.setattr(module, "_generator", lambda *_: Scripted())
    return workspace


def test_what_was_generated_comes_back_as_a_source_whose_rows_only_teach(root):
    found = fulfil(root, "route", None, {"billing": 6})
    assert found["rows"] == 6 and not found["missing"]
    path = root / "data/raw/generated-route.jsonl"
    before = path.read_bytes()
    assert fulfil(root, "route", None, {"billing": 6})["rows"] == 6 and path.read_bytes() == before
    text = (root / "params.yaml").read_text()
    source = found["source"]
    (root / "params.yaml").write_text(text.replace("  sources:\n", f"  sources:\n    {source}\n", 1))
    for verb in ("ingest", "validate", "split"):
        run_stage(root, verb)
    rows = {side: list(read_lines(root / f"data/split/route/{side}.jsonl")) for side in ("train", "dev", "test")}
    teaching = {row["id"] for row in rows["train"]}
    made = [row for row in rows["train"] if row["parents"]]
    assert len(made) == 6 and all(set(row["parents"]) <= teaching for row in made)
    assert not any(row["parents"] for row in rows["dev"] + rows["test"])


def test_a_request_can_be_a_table_for_people(root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(root)
    table = tmp_path / "wanted.csv"
    assert cli.main(["generate", "route", "--label", "billing", "--rows", "3", "--export", str(table)]) == 0
    assert "an empty row for each" in capsys.readouterr().out
    with table.open(newline="") as stream:
        assert list(csv.DictReader(stream)) == [{"body": "", "queue": "billing"}] * 3


def test_the_command_says_what_came_of_it(root, monkeypatch, capsys):
    monkeypatch.chdir(root)
    assert cli.main(["generate", "route", "--label", "billing", "--rows", "2"]) == 0
    said = capsys.readouterr().out
    assert "kept 2 rows" in said and "- {name: generated-route, path: generated-route.jsonl, parents: parents}" in said
    assert cli.main(["generate", "route", "--label", "billing", "--rows", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing", None, {}), "no such task"),
        (("route", None, {}), "no rows are wanted"),
        (("route", None, {"nonsense": 3}), "no such rows can be wanted"),
        (("route", None, {"billing": 0}), "no such rows can be wanted"),
    ],
)
def test_what_can_not_be_wanted_is_said(root, arguments, message):
    text = (root / "params.yaml").read_text()
    (root / "params.yaml").write_text(text.replace("per_label: 30", "per_label: 1"))
    with pytest.raises(RungwiseError, match=message):
        fulfil(root, *arguments)


def test_without_anybody_to_ask_and_before_the_split_it_says_so(workspace):
    with pytest.raises(RungwiseError, match="was not run yet"):
        fulfil(workspace, "route", None, {"billing": 1})
    for verb in ("ingest", "validate", "split"):
        run_stage(workspace, verb)
    with pytest.raises(RungwiseError, match="nobody to ask"):
        fulfil(workspace, "route", None, {"billing": 1})
    with pytest.raises(RungwiseError, match="a base can't be used"):
        fulfil(workspace, "route", "a/b@main", {"billing": 1})


def test_a_local_base_writes_and_is_sifted_like_others(workspace):
    for verb in ("ingest", "validate", "split"):
        run_stage(workspace, verb)
    found = fulfil(workspace, "route", "bases/able", {"billing": 2})
    assert found["rows"] + sum(found["rejected"].values()) > 0
    assert fulfil(workspace, "route", "bases/able", {"billing": 2}) == found
