from tests.dataset.conftest import ingested as run


def test_addresses_and_numbers_become_placeholders(tmp_path):
    text = "body,queue\nmail ada@example.org or +44 20 7946 0958: card 4111-1111-1111-1111 no 4111-1111-1111-1112,a\n"
    (row,) = run(tmp_path, text, redact=("email", "phone", "card")).examples
    assert row.fields["body"] == "mail [EMAIL] or [PHONE]: card [CARD] no 4111-1111-1111-1112"
    (local,) = run(tmp_path, "body,queue\ncall 020 7946 0958,a\n", redact=("phone",), region="GB").examples
    assert local.fields["body"] == "call [PHONE]"
    assert run(tmp_path, text, redact=("email",)).examples[0].fields["body"].startswith("mail [EMAIL] or +44")
