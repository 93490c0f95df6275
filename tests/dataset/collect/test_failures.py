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
