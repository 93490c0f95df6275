import re

import pytest

from rungwise.cli import main as cli
from rungwise.core.errors import WorkspaceError
from rungwise.pipeline.stages import run_stage
from rungwise.report.page import write_pages
from tests.conftest import planted_rows


def test_the_page_shows_counts_without_the_text_of_rows_and_without_the_network(workspace, monkeypatch, capsys):
    rows = [f"{text},{label}" for text, label in planted_rows(300)]
    more = ["refund <b>zebra</b> please,<script>alert(1)</script>"] * 2
    more += [
        f"{text} <i>zebra</i>,<script>alert(1)</script>" for text, label in planted_rows(60, 3) if label == "billing"
    ]
    more += [",billing", f"refund {'zebra ' * 4000},billing"]
    (workspace / "data/raw/tickets.csv").write_text("\n".join(["body,queue", *rows, *more]) + "\n")
    with pytest.raises(WorkspaceError, match="was not run yet"):
        write_pages(workspace)
    for verb in ("ingest", "validate", "split", "augment"):
        run_stage(workspace, verb)
    monkeypatch.chdir(workspace)
    assert cli.main(["data", "docs"]) == 0
    page = capsys.readouterr().out.strip()
    text = (workspace / ".rungwise/docs/index.html").read_text()
    assert page.endswith(".rungwise/docs/index.html")
    for words in (
        *("no_text", "failed_expectation", "exact duplicate", "Rejected rows", "Expectations"),
        *("&lt;script&gt;", "billing", 'class="warning"', "data version"),
    ):
        assert words in text, words
    assert "zebra" not in text and "<script" not in text and not re.search(r"(?:src|href)=[\"']?(?:https?:)?//", text)
    docs = (workspace / ".rungwise/docs/expectations-route.html").read_text()
    assert "zebra" not in docs and "values must" in docs and len(docs) > 20_000
