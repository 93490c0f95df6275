"""A row is shown by its id: text, file and line, side or what dropped it, and the rows like it."""

import json
from dataclasses import replace

import pytest

from rungwise.cli import main as cli
from rungwise.core.errors import DataError
from rungwise.core.folders import read_lines
from rungwise.pipeline.stages import run_stage
from rungwise.report.rows import ShownRow, Suspicion, find_rows, rows_text
from tests.conftest import sided_rows, write_sided

STAGES = ("ingest", "validate", "split", "augment")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A workspace with a row of each kind, and rows in two files of one source."""
    rows = [*sided_rows(80, "train"), *sided_rows(60, "dev"), *sided_rows(60, "test")]
    text, label, _ = rows[0]
    other = next(name for name in ("billing", "repair") if name != label)
    more = [
        (text, label, "train"),  # an exact duplicate
        (text, other, "train"),  # a contradiction
        (f"{rows[1][0]} x", rows[1][1], "train"),  # a near duplicate
        (rows[150][0], rows[150][1], "train"),  # a leak
        ("parcel \x1b[31mred\x1b[0m \u202eevil", "account", "train"),
        ("one of its kind", "alone", "train"),
    ]
    root = write_sided(tmp_path_factory.mktemp("rows") / "ws", [*rows, *more])
    lines = (root / "data/raw/tickets.csv").read_text().splitlines()
    (root / "data/raw/tickets.csv").write_text("\n".join(lines[:201]) + "\n")
    (root / "data/raw/tickets-2.csv").write_text("\n".join([lines[0], *lines[201:]]) + "\n")
    params = root / "params.yaml"
    changed = params.read_text().replace("path: tickets.csv", 'path: "tickets*.csv"')
    params.write_text(changed.replace("augment: {}", 'augment: {templates: ["Hi, {body}"], per_label: 40}'))
    for verb in STAGES:
        run_stage(root, verb)
    return root


def only(root, row):
    (shown,), like = find_rows(root, [row])
    return shown, like


def test_a_dropped_duplicate_is_shown_with_its_place_and_the_row_that_stays(root):
    line = next(d for d in read_lines(root / "data/ingest/route/duplicates.jsonl") if d["kind"] == "exact")
    shown, like = only(root, line["id"])
    stays, _ = only(root, line["other"])
    places = {shown.place, stays.place}
    assert places == {"data/raw/tickets.csv:2", "data/raw/tickets-2.csv:2"}
    assert shown.fields == stays.fields and shown.dropped.startswith("ingest: duplicate (of ") and not shown.side
    assert stays.side == "train" and not stays.dropped
    assert [(one.id, one.kind) for one in shown.like][:1] == [(line["other"], "exact")]
    assert {one.kind for one in stays.like} == {"exact", "contradiction"} and stays.id in like
    text = rows_text((shown,), like)
    assert f"exact duplicate, similarity 1.00: {stays.id}  {stays.place}, training row" in text
    assert text.count(stays.fields["body"]) >= 2  # its own text and that of the row that stays


def test_what_dropped_a_row_is_said(root):
    leak = next(read_lines(root / "data/split/route/rejections.jsonl"))
    shown, _ = only(root, leak["id"])
    assert shown.dropped.startswith("split: leak_") and shown.place == "data/raw/tickets-2.csv:5"
    rare = next(read_lines(root / "data/validate/route/rejections.jsonl"))
    shown, _ = only(root, rare["id"])
    assert shown.dropped == "validate: rare_label (its label has 1 row)" and shown.answer == "alone"


def test_a_synthetic_row_names_its_parents(root):
    row = next(row for row in read_lines(root / "data/augment/route/train.jsonl") if row["parents"])
    shown, like = only(root, row["id"])
    assert shown.side == "train" and shown.parents == tuple(row["parents"]) and set(row["parents"]) <= set(like)
    assert f"made from {row['parents'][0]}  data/raw/" in rows_text((shown,), like)


def test_a_doubted_label_is_said(root):
    report = json.loads((root / "data/validate/route/report.json").read_text())
    if report["suspects"]:
        shown, like = only(root, report["suspects"][0]["id"])
        assert "its label may be wrong: perhaps" in rows_text((shown,), like)


def test_the_command_shows_rows_by_the_beginning_of_their_ids_and_escapes_control_characters(root, monkeypatch, capsys):
    monkeypatch.chdir(root)
    row = next(r for r in read_lines(root / "data/ingest/route/examples.jsonl") if "evil" in r["fields"]["body"])
    assert cli.main(["data", "show", row["id"][:8]]) == 0
    shown = capsys.readouterr().out
    assert r"\u001b[31mred" in shown and "\x1b" not in shown and "\u202e" not in shown and row["id"] in shown
    assert cli.main(["data", "show", "--json", row["id"]]) == 0
    (one,) = json.loads(capsys.readouterr().out)["rows"]
    assert one["fields"] == row["fields"] and one["file"] == "data/raw/tickets-2.csv"
    assert cli.main(["data", "show", "no-such"]) == 2
    assert "the last run has no such row" in capsys.readouterr().err
    with pytest.raises(DataError, match="no such row"):
        find_rows(root, [""])


def test_an_id_that_fits_several_rows_is_an_error(root, monkeypatch):
    ids = sorted(row["id"] for row in read_lines(root / "data/ingest/route/examples.jsonl"))
    twice = next(a[:1] for a, b in zip(ids, ids[1:], strict=False) if a[:1] == b[:1])
    with pytest.raises(DataError, match="an id fits several rows"):
        find_rows(root, [twice])


def test_a_row_is_shown_after_its_file_is_gone(root):
    row = next(read_lines(root / "data/ingest/route/examples.jsonl"))
    path = root / "data/raw/tickets.csv"
    kept = path.read_bytes()
    others = (root / "data/raw/tickets-2.csv").read_bytes()
    dropped = next(d for d in read_lines(root / "data/ingest/route/duplicates.jsonl") if d["kind"] == "exact")["id"]
    try:
        for name in ("tickets.csv", "tickets-2.csv"):
            (root / "data/raw" / name).unlink()
        shown, _ = only(root, row["id"])
        assert shown.fields == row["fields"] and shown.place == f"tickets:{row['line']}"
        gone, _ = only(root, dropped)
        assert not gone.fields and "nothing holds its text any more" in rows_text((gone,), {})
    finally:
        path.write_bytes(kept)
        (root / "data/raw/tickets-2.csv").write_bytes(others)


def test_a_suggested_label_stays_on_its_line(root):
    (row,), _ = find_rows(root, [next(line["id"] for line in read_lines(root / "data/split/route/train.jsonl"))])
    assert isinstance(row, ShownRow)
    shown = rows_text([replace(row, suspicion=Suspicion("a\nFAKE\x1b[2J", 0.9), like=())], {})
    assert r"perhaps a\nFAKE\u001b[2J (suspicion 0.900)" in shown
