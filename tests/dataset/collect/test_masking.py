import pytest
from pydantic import ValidationError

from rungwise.core.errors import DataError
from rungwise.dataset.collect.masking import mask_secrets
from tests.dataset.conftest import collect_settings as settings
from tests.dataset.conftest import run_collect as run


@pytest.mark.parametrize(
    ("address", "is_secret"),
    [
        ("https://host/x.csv?keyword=a&monkey=b&design=c", False),
        ("https://host/x.csv?api_key=a", True),
        ("https://host/x.csv?apiKey=a", True),
        ("https://host/x.csv?X-Amz-Signature=a", True),
        ("https://host/x.csv?sig=a", True),
        ("https://host/x.csv?db_passwords=a", True),
        ("https://ghp_token@host/x.csv", True),
        ("sftp://ada@host/x.csv", False),
        ("postgresql://ada@host/db", False),
        ("https://[ab@host/x.csv", True),
    ],
)
def test_a_secret_in_an_address_is_recognised_by_whole_words(address, is_secret):
    if is_secret:
        with pytest.raises(ValidationError, match="holds a password"):
            settings(**{"from": address})
    else:
        settings(**{"from": address})


def test_messages_hide_whole_words_and_survive_any_address(tmp_path, monkeypatch):
    message = "can't reach a table in ahosts at host as a: password hunter2, (a:hunter2@host)"
    assert mask_secrets(message, "x://a:hunter2@host/db") == (
        "can't reach a table in ahosts at ... as a: password ..., (...)"
    )
    for address in ("postgresql://ada:hun[ter2@secret.example/db", "nosuch://ada:hun/ter2@secret.example/db"):
        monkeypatch.setenv("CRM_URL", address)
        for extra in ({}, {"query": "select 1"}):
            with pytest.raises(DataError, match="can't be collected") as error:
                run(tmp_path, settings(url_env="CRM_URL", **extra))
            assert not [w for w in ("hun", "ter2", "secret.example", "ada:") if w in str(error.value)], error.value


def test_passwords_come_from_the_environment_and_appear_in_no_message(tmp_path, monkeypatch):
    for address in ("postgresql://ada:hunter2@host/db", "https://host/x.csv?token=hunter2", "s3://k:hunter2@b/x"):
        with pytest.raises(ValidationError, match="holds a password"):
            settings(**{"from": address})
    with pytest.raises(ValidationError, match="either `from` or `url_env`"):
        settings()
    monkeypatch.setenv("CRM_URL", "nosuch://ada:hunter2@secret.example/db")
    for extra in ({}, {"query": "select 1"}):
        with pytest.raises(DataError, match="can't be collected") as error:
            run(tmp_path, settings(url_env="CRM_URL", **extra))
        assert not {"hunter2", "secret.example", "ada:"} & {
            w for w in ("hunter2", "secret.example", "ada:") if w in str(error.value)
        }
    monkeypatch.delenv("CRM_URL")
    with pytest.raises(DataError, match="no environment variable CRM_URL"):
        run(tmp_path, settings(url_env="CRM_URL"))
