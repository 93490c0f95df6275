"""Translates what file systems and database drivers raise into a DataError without secrets."""

from typing import Final

from rungwise.config import CollectSettings
from rungwise.core.errors import DataError, Problem
from rungwise.dataset.collect.masking import mask_secrets

_DATABASES: Final = ("postgresql", "postgres", "mysql", "mariadb", "sqlite", "mssql", "oracle")
_EXTRAS: Final = {
    **{name: name for name in ("s3fs", "gcsfs", "adlfs", "aiohttp", "paramiko", "pymysql", "psycopg", "oracledb")},
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
    "pyodbc": "pyodbc",
}
"""Optional module -> the package that provides it."""


def collect_error(source: CollectSettings, address: str, error: Exception) -> DataError:
    """Returns the error to raise; an address from an environment variable does not appear in it."""
    text = " ".join(str(error).split())
    if not source.from_:
        text = mask_secrets(text, address)
    missing = next((p for m, p in _EXTRAS.items() if isinstance(error, ImportError) and m in str(error)), "")
    return DataError(
        Problem(
            "a source can't be collected",
            where=f"collect: {source.name}, {source.from_ or '$' + str(source.url_env)}",
            found=f"{type(error).__name__}: {text[:300]}",
            wanted="an address and a query that work" if source.query else "an address that can be read",
            do=f"pip install {missing}" if missing else _advice(source, address),
            is_transient=_is_transient(error, address),
        )
    )


def _is_transient(error: BaseException, address: str) -> bool:
    """Whether a lost connection, a timeout or a locked database is behind the failure."""
    chain: list[BaseException] = []
    while error and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__  # type: ignore[assignment]  # None ends the loop
    names = [cls.__name__ for one in chain for cls in type(one).__mro__]
    if "OperationalError" in names and address.startswith("sqlite"):
        return "locked" in str(chain[0])
    return any("Connect" in name or "Timeout" in name or name == "OperationalError" for name in names)


def _advice(source: CollectSettings, address: str) -> str:
    """Returns what the user can do about the failure."""
    scheme = address.partition("://")[0].partition("+")[0]
    if not source.query and scheme in _DATABASES:
        return "a database needs a query and the source has no `query`: add one, `query: select ... order by ...`"
    return "check the address by hand; the files collected earlier are unchanged"
