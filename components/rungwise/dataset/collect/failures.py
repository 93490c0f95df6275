"""What file systems and database drivers raise, as one error of ours."""

from typing import Final

from rungwise.config import CollectSettings
from rungwise.core.errors import DataError, Problem
from rungwise.dataset.collect.masking import masked

_DATABASES: Final = ("postgresql", "postgres", "mysql", "mariadb", "sqlite", "mssql", "oracle")
_EXTRAS: Final = {
    **{name: name for name in ("s3fs", "gcsfs", "adlfs", "aiohttp", "paramiko", "pymysql", "psycopg", "oracledb")},
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
    "pyodbc": "pyodbc",
}
"""Module that may be missing -> the package that brings it; of several in one message the last one."""


def failed(source: CollectSettings, address: str, error: Exception) -> DataError:
    """Returns an error that says what went wrong without the address that an environment variable keeps secret."""
    text = " ".join(str(error).split())
    if not source.from_:
        text = masked(text, address)
    missing = next((p for m, p in _EXTRAS.items() if isinstance(error, ImportError) and m in str(error)), "")
    return DataError(
        Problem(
            "a source can't be collected",
            where=f"collect: {source.name}, {source.from_ or '$' + str(source.url_env)}",
            found=f"{type(error).__name__}: {text[:300]}",
            wanted="an address and a query that work" if source.query else "an address that can be read",
            do=f"pip install {missing}" if missing else _advice(source, address),
        )
    )


def _advice(source: CollectSettings, address: str) -> str:
    scheme = address.partition("://")[0].partition("+")[0]
    if not source.query and scheme in _DATABASES:
        return (
            "a database is asked by SQL, and the source has no `query`: give it one, `query: select ... order by ...`"
        )
    return "try the address by hand; what was collected before is untouched"
