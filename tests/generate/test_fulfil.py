import csv
import json
import signal
import socket
import subprocess
import sys
import time

import pytest

from rungwise.cli import main as cli
from rungwise.core.errors import RungwiseError
from rungwise.core.folders import read_lines
from rungwise.generate import fulfil as module
from rungwise.generate.fulfil import fulfil
from rungwise.generate.queries import Reply
from rungwise.pipeline.stages import run_stage
from tests.conftest import environment


class Scripted:
    name, concurrency = "scripted", 1

    def __call__(self, query):
        return Reply(
            tuple(
                f"refund {query.seed + i} {chr(97 + i) * 9} {query.seed * 7919 + i * 104729}"
                for i in range(query.n_texts)
            )
        )


@pytest.fixture
def root(workspace, monkeypatch):
    for verb in ("ingest", "validate", "split"):
        run_stage(workspace, verb)
    monkeypatch.setattr(module, "_generator", lambda *_: Scripted())
    return workspace


def test_generated_rows_become_a_source_of_training_rows_only(root):
    result = fulfil(root, "route", None, {"billing": 6})
    assert result["rows"] == 6 and not result["missing"]
    path = root / "data/raw/generated-route.jsonl"
    before = path.read_bytes()
    assert fulfil(root, "route", None, {"billing": 6})["rows"] == 6 and path.read_bytes() == before
    text = (root / "params.yaml").read_text()
    source = result["source"]
    (root / "params.yaml").write_text(text.replace("  sources:\n", f"  sources:\n    {source}\n", 1))
    for verb in ("ingest", "validate", "split"):
        run_stage(root, verb)
    rows = {side: list(read_lines(root / f"data/split/route/{side}.jsonl")) for side in ("train", "dev", "test")}
    training = {row["id"] for row in rows["train"]}
    made = [row for row in rows["train"] if row["parents"]]
    assert len(made) == 6 and all(set(row["parents"]) <= training for row in made)
    assert not any(row["parents"] for row in rows["dev"] + rows["test"])


def test_a_request_can_be_exported_as_a_table_for_people(root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(root)
    table = tmp_path / "wanted.csv"
    assert cli.main(["generate", "route", "--label", "billing", "--rows", "3", "--export", str(table)]) == 0
    assert "an empty row for each" in capsys.readouterr().out
    with table.open(newline="") as stream:
        assert list(csv.DictReader(stream)) == [{"body": "", "queue": "billing"}] * 3
    table.write_text("filled in")
    for place, message in (
        (table, "may be filled in"),
        (tmp_path, "a folder"),
        (tmp_path / "no/x.csv", "create its folder"),
    ):
        assert cli.main(["generate", "route", "--label", "billing", "--rows", "3", "--export", str(place)]) == 2
        error = capsys.readouterr().err
        assert "the table can't be written" in error and message in error
    assert table.read_text() == "filled in"


def test_an_exported_cell_that_a_spreadsheet_would_run_is_text(root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(root)
    tickets, label = root / "data/raw/tickets.csv", '=cmd|" /C calc"!A1'
    text = tickets.read_text().replace(",billing", ',"' + label.replace('"', '""') + '"').replace(",repair", ",-1")
    tickets.write_text(text)
    for verb in ("ingest", "validate", "split"):
        run_stage(root, verb)
    for name, cell in ((label, f"'{label}"), ("-1", "-1")):
        table = tmp_path / f"wanted{len(name)}.csv"
        assert cli.main(["generate", "route", "--label", name, "--rows", "1", "--export", str(table)]) == 0
        assert ("a spreadsheet would run this" in capsys.readouterr().out) == (name == label)
        with table.open(newline="") as stream:
            assert list(csv.DictReader(stream)) == [{"body": "", "queue": cell}]


@pytest.mark.parametrize(
    ("cell", "wanted"),
    [
        ("=1+1", "'=1+1"),
        ("\n=1+1", "'\n'=1+1"),
        ("\t=1+1", "'\t'=1+1"),
        (" =1+1", "' =1+1"),
        ("\u00a0-x", "'\u00a0-x"),
        ("\ufeff=1+1", "'\ufeff=1+1"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("\uff0b1", "'\uff0b1"),
        ("a;=1+1", "a;'=1+1"),
        ("a\n @x", "a\n' @x"),
        ("-1", "-1"),
        ("+2.5%", "+2.5%"),
        ("a-b", "a-b"),
        ("x = 1; y", "x = 1; y"),
    ],
)
def test_a_formula_in_a_cell_is_text(cell, wanted):
    assert module._unrun(cell) == wanted


@pytest.mark.parametrize(
    ("split", "columns", "hint"),
    [
        ("group: customer", {"customer": ""}, "customer may stay empty"),
        ("by_time: sent", {"sent": ""}, "sent needs a date"),
        ("given: side", {"side": "train"}, "side holds the row's side"),
    ],
)
def test_an_exported_table_has_the_columns_of_the_split_and_can_be_read_back(
    root, split, columns, hint, monkeypatch, capsys
):
    (column,) = columns
    tickets = root / "data/raw/tickets.csv"
    head, *lines = tickets.read_text().splitlines()
    values = {"customer": "c{}", "sent": "2026-01-{:02}", "side": "{}"}[column]
    sides = ("train", "train", "dev", "test")
    ends = [values.format(sides[i % 4] if column == "side" else 1 + i % 28) for i in range(len(lines))]
    tickets.write_text(
        "\n".join([f"{head},{column}", *(f"{x},{end}" for x, end in zip(lines, ends, strict=True))]) + "\n"
    )
    text = (
        (root / "params.yaml")
        .read_text()
        .replace("split: {dev: 0.25, test: 0.25}", f"split: {{{split}, max_leaked_share: 1.0}}")
    )
    (root / "params.yaml").write_text(text)
    monkeypatch.chdir(root)
    table = root / "wanted.csv"
    assert cli.main(["generate", "route", "--label", "billing", "--rows", "2", "--export", str(table)]) == 0
    assert hint in capsys.readouterr().out
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert rows == [{"body": "", "queue": "billing", **columns}] * 2
    filled = [
        {**row, "body": f"refund of {name}", **({"sent": "2025-12-01"} if column == "sent" else {})}
        for row, name in zip(rows, ("zebras", "quaggas"), strict=True)
    ]
    with (root / "data/raw/wanted.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(filled)
    (root / "params.yaml").write_text(
        text.replace("  sources:\n", "  sources:\n    - {name: wanted, path: wanted.csv}\n")
    )
    run_stage(root, "ingest")
    read = [row for row in read_lines(root / "data/ingest/route/examples.jsonl") if row["source"] == "wanted"]
    assert len(read) == 2


def test_the_command_reports_failures_and_limits(root, monkeypatch, capsys):
    class Down(Scripted):
        name = "m at 127.0.0.1:8000"

        def __call__(self, query):
            return Reply((), "no_connection") if query.seed % 2 else super().__call__(query)

    monkeypatch.setattr(module, "_generator", lambda *_: Down())
    monkeypatch.chdir(root)
    text = (root / "params.yaml").read_text()
    settings = "augment: {generate: {texts_per_request: 1, max_share: 0.02},"
    (root / "params.yaml").write_text(text.replace("augment: {", settings))
    for new in ("1", "0"):
        assert cli.main(["generate", "route", "--label", "billing", "--rows", "30"]) == 0
        output = capsys.readouterr().out
        assert f"kept 1 row, {new} of them new" in output
        assert (
            "limited: at most 1 row is generated, 2% of the training rows" in output
            and "`augment.generate.max_share`" in output
        )
    (root / "params.yaml").write_text(text.replace("augment: {", "augment: {generate: {texts_per_request: 1},"))
    assert cli.main(["generate", "route", "--label", "billing", "--rows", "8"]) == 0
    output = capsys.readouterr().out
    assert "warning: m at 127.0.0.1:8000 failed (no_connection: " in output and "check that it runs" in output


GENERATE = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)  # what a script starts in the background is deaf to Ctrl-C
os.execv(sys.executable, [sys.executable, "-m", "rungwise", "generate", *sys.argv[1:]])
"""


def test_ctrl_c_ends_the_command_at_once_while_the_server_hangs(workspace):
    for verb in ("ingest", "validate", "split"):
        run_stage(workspace, verb)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        text = (workspace / "params.yaml").read_text()
        endpoint = f'augment: {{endpoint: {{url: "{url}", model: m, consent: true}},'
        (workspace / "params.yaml").write_text(text.replace("augment: {", endpoint))
        command = [sys.executable, "-c", GENERATE, "route", "--label", "billing", "--rows", "20"]
        with subprocess.Popen(command, cwd=workspace, env=environment(), stderr=subprocess.PIPE, text=True) as running:
            taken, _ = server.accept()  # it hint, and nobody answers
            time.sleep(0.5)
            running.send_signal(signal.SIGINT)
            _, output = running.communicate(timeout=20)
        taken.close()
    assert (
        running.returncode == 130
        and "usable answers" in output
        and "attempts" not in output
        and "Traceback" not in output
    )


def test_the_command_reports_its_result(root, monkeypatch, capsys):
    monkeypatch.chdir(root)
    assert cli.main(["generate", "route", "--label", "billing", "--rows", "2"]) == 0
    output = capsys.readouterr().out
    assert (
        "kept 2 rows" in output and "- {name: generated-route, path: generated-route.jsonl, parents: parents}" in output
    )
    assert cli.main(["generate", "route", "--label", "billing", "--rows", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing", None, {}), "no such task"),
        (("route", None, {}), "no rows are wanted"),
        (("route", None, {"nonsense": 3}), "these rows can't be generated"),
        (("route", None, {"billing": 0}), "these rows can't be generated"),
    ],
)
def test_impossible_requests_are_errors(root, arguments, message):
    text = (root / "params.yaml").read_text()
    (root / "params.yaml").write_text(text.replace("per_label: 30", "per_label: 1"))
    with pytest.raises(RungwiseError, match=message):
        fulfil(root, *arguments)


def test_without_a_generator_or_a_split_it_is_an_error(workspace):
    with pytest.raises(RungwiseError, match="was not run yet"):
        fulfil(workspace, "route", None, {"billing": 1})
    for verb in ("ingest", "validate", "split"):
        run_stage(workspace, verb)
    with pytest.raises(RungwiseError, match="there is no generator"):
        fulfil(workspace, "route", None, {"billing": 1})
    with pytest.raises(RungwiseError, match="a base can't be used"):
        fulfil(workspace, "route", "a/b@main", {"billing": 1})
    with pytest.raises(
        RungwiseError, match=r"(?s)a base model is not there.*--base nowhere.*correct `--base`"
    ) as error:
        fulfil(workspace, "route", "nowhere", {"billing": 1})
    assert "ladder" not in str(error.value)


def test_a_local_base_writes_and_is_filtered_like_others(workspace):
    for verb in ("ingest", "validate", "split"):
        run_stage(workspace, verb)
    result = fulfil(workspace, "route", "bases/able", {"billing": 2})
    assert result["rows"] + sum(result["rejected"].values()) > 0
    assert fulfil(workspace, "route", "bases/able", {"billing": 2}) == {**result, "new": 0}
