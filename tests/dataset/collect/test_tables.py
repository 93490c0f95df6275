import json
import sqlite3

import pytest

from rungwise.core.errors import DataError
from rungwise.dataset.collect import tables as tables_module
from rungwise.dataset.collect.fingerprints import FINGERPRINTS
from tests.dataset.conftest import collect_settings as settings
from tests.dataset.conftest import run_collect as run


def test_a_query_becomes_json_lines(tmp_path, monkeypatch):
    with sqlite3.connect(tmp_path / "crm.db") as base:
        base.execute("create table mails (body text, queue text, n real, at text)")
        base.executemany("insert into mails values (?, ?, ?, ?)", [("a:b 100%", "x", 1.5, None), ("ü", "y", 2, "2026")])
    base.close()
    monkeypatch.setenv("CRM_URL", f"sqlite:///{tmp_path / 'crm.db'}")
    source = settings(
        url_env="CRM_URL", query="select body, queue, n, at from mails where body like '%' order by body", to="m.jsonl"
    )
    (found,) = run(tmp_path, source)
    assert [json.loads(line) for line in (tmp_path / "raw/m.jsonl").read_text().splitlines()] == [
        {"body": "a:b 100%", "queue": "x", "n": 1.5, "at": None},
        {"body": "ü", "queue": "y", "n": 2.0, "at": "2026"},
    ]
    assert found.origin == "$CRM_URL" and str(tmp_path) not in (tmp_path / "raw" / FINGERPRINTS).read_text()
    for query, message in (
        ("select nosuch from mails", "OperationalError.*no such column"),
        ("select body, queue as body from mails", "does not return a table"),
        ("create table t (a)", "does not return a table"),
        ("select x'00ff' as picture", "column holds bytes"),
    ):
        with pytest.raises(DataError, match=f"(?s){message}"):
            run(tmp_path, settings(url_env="CRM_URL", query=query, to="m.jsonl"))
    assert len((tmp_path / "raw/m.jsonl").read_text().splitlines()) == 2  # what was there before stays


def test_a_json_column_stays_json():
    line = tables_module._line(settings(**{"from": "a"}), {"a": {"b": [1, "ü"]}, "c": [True, None]})
    assert json.loads(json.loads(line)["a"]) == {"b": [1, "ü"]} and json.loads(json.loads(line)["c"]) == [True, None]
