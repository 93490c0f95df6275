"""Addresses and paths of MLflow's SQLite file and of the folders that it names."""

from pathlib import Path

import pytest

from rungwise.release.aliases import address_of, database_of, local_path


@pytest.mark.parametrize(
    "path", ["/ws/mlflow.db", "/my rows/ä/m.db", "/50%/m.db", "/50%25/m.db", "/why?/m.db", "/#1/m.db"]
)
def test_an_address_names_exactly_its_file(path):
    from sqlalchemy.engine import make_url

    address = address_of(Path(path))
    assert make_url(address).database == path and database_of(address) == Path(path)


def test_addresses_of_other_databases_name_no_file():
    assert database_of("http://127.0.0.1:5000") is None and database_of("postgresql://host/name") is None
    assert database_of("sqlite:////ws/m.db?timeout=10") == Path("/ws/m.db")


def test_a_place_is_a_path_only_on_this_machine():
    assert local_path(Path("/50%25/why?").as_uri()) == local_path("/50%25/why?") == Path("/50%25/why?")
    assert local_path("s3://bucket/a") is None
