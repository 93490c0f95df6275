import sqlite3

import pytest

from rungwise.core.errors import RegistryError
from rungwise.release.connection import Connection


def problem(root):
    with pytest.raises(RegistryError) as error, Connection(root).client() as (_, client):
        client.search_registered_models(max_results=1)
    return error.value.problem


def test_a_server_that_can_not_be_reached_may_be_there_later_and_a_broken_file_is_not_repaired_by_waiting(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    (tmp_path / "mlflow.db").write_bytes(b"not a database, " * 100)
    broken = problem(tmp_path)
    assert broken.what == "the registry can't be read" and not broken.is_transient
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # nobody listens there
    lost = problem(tmp_path)
    assert lost.where == "http://127.0.0.1:9" and lost.is_transient


def test_a_locked_database_may_be_free_later(tmp_path):
    with pytest.raises(RegistryError) as error, Connection(tmp_path).client() as (_, client):
        client.search_registered_models(max_results=1)
        raise_as_sqlalchemy()
    assert error.value.problem.is_transient


def raise_as_sqlalchemy():
    from sqlalchemy.exc import OperationalError

    raise OperationalError("insert ...", {}, sqlite3.OperationalError("database is locked"))


def test_a_database_file_that_was_cut_is_named_with_what_helps(tmp_path):
    with Connection(tmp_path).client() as (_, client):
        client.search_registered_models(max_results=1)
    (tmp_path / "mlflow.db").write_bytes(b"")
    broken = problem(tmp_path)
    assert broken.what == "the registry can't be read" and broken.where == str(tmp_path / "mlflow.db")
    assert "restore the database file" in broken.do
