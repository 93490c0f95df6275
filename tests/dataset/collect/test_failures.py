import sqlite3
import sys

import pytest

from rungwise.core.errors import DataError
from tests.dataset.conftest import collect_settings as settings
from tests.dataset.conftest import run_collect as run


def test_a_missing_driver_and_a_missing_query_are_named(tmp_path, monkeypatch):
    for address, package in (("postgresql+psycopg://h/d", "psycopg"), ("mysql+pymysql://h/d", "pymysql")):
        monkeypatch.setitem(sys.modules, package, None)
        monkeypatch.setenv("CRM_URL", address)
        with pytest.raises(DataError, match=f"pip install {package}"):
            run(tmp_path, settings(url_env="CRM_URL", query="select 1"))
        with pytest.raises(DataError, match="the source has no `query`"):
            run(tmp_path, settings(url_env="CRM_URL"))


def test_a_failure_that_may_pass_is_said_to(tmp_path, monkeypatch):
    monkeypatch.setenv("CRM_URL", "postgresql+psycopg://h/d")
    monkeypatch.setenv("CRM_FILE", f"sqlite:///{tmp_path / 'rows.db'}")
    lost = "http://127.0.0.1:9/rows.csv"  # nobody listens there
    with pytest.raises(DataError) as error:
        run(tmp_path, settings(**{"from": lost}))
    assert error.value.problem.is_transient
    for given in ({"from": str(tmp_path / "no.csv")}, {"url_env": "CRM_FILE", "query": "select * from nothing"}):
        sqlite3.connect(tmp_path / "rows.db").close()
        with pytest.raises(DataError) as error:
            run(tmp_path, settings(**given))
        assert not error.value.problem.is_transient, given
