import re

import pytest

from rungwise.cli import main as cli
from rungwise.core.errors import WorkspaceError
from rungwise.pipeline.stages import run_stage
from rungwise.report.page import _arguments, write_pages
from tests.conftest import planted_rows, sided_rows, write_sided

WORDS = [("red", "train"), ("green", "train"), ("blue", "train"), ("grey", "train"), ("pink", "dev"), ("gold", "test")]


@pytest.mark.parametrize("has_texts", [True, False])
def test_the_page_shows_counts_and_texts_only_if_wanted_and_needs_no_network(workspace, monkeypatch, capsys, has_texts):
    if not has_texts:
        with (workspace / "params.yaml").open("a") as stream:
            stream.write("docs: {texts: false}\n")
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
    assert ("refund &lt;b&gt;zebra&lt;/b&gt; please" in text) == has_texts == ("zebra" in text)
    assert "<b>zebra" not in text and "<script" not in text
    docs = (workspace / ".rungwise/docs/expectations-route.html").read_text()
    assert "zebra" not in docs and "values must" in docs and "<script" not in docs and "1970" not in docs
    assert re.search(r"Validated on 20\d\d-\d\d-\d\d \d\d:\d\d UTC", docs) and 'href="../' not in docs
    for page_text in (text, docs):
        assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//|url\(|@import", page_text)
        assert '<meta name="viewport"' in page_text


def test_all_labels_can_be_reached_and_the_rows_at_each_step_add_up(tmp_path):
    many = [(f"{word} item{label} {word}", f"label-{label}", side) for label in range(60) for word, side in WORDS]
    dropped = [*many[:3], ("again item0 once", "", "train"), ("only one of these", "alone", "train")]
    root = write_sided(tmp_path / "ws", [*many, *dropped])
    params = root / "params.yaml"
    params.write_text(params.read_text().replace("ingest:\n", "ingest:\n  max_rejected_share: 0.5\n"))
    for verb in ("ingest", "validate", "split", "augment"):
        run_stage(root, verb)
    text = write_pages(root).read_text()
    for label in range(60):
        assert f"<bdi>label-{label}</bdi>" in text
    assert "more</summary>" in text and "(60, together 360 rows)" in text
    table = text.split("Rows at each step")[1].split("</table>")[0]
    cells = [re.findall(r"<td[^>]*>([^<]*)</td>", line) for line in table.split("<tr>")[2:]]
    figures = {name: [int(cell or 0) for cell in more] for name, *more in cells}
    assert figures["ingest"] == [365, 4, 0, 361] and figures["validate"] == [361, 1, 0, 360]
    for before, removed, added, after in figures.values():
        assert before - removed + added == after
    assert figures["split"][0] == 360 and figures["augment (training rows)"][0] == 240


def test_ids_of_failing_rows_and_of_pairs_can_be_copied_and_long_lists_unfold(tmp_path, monkeypatch):
    rows = [*sided_rows(60, "train"), *sided_rows(60, "dev"), *sided_rows(60, "test")]
    root = write_sided(tmp_path / "ws", [*rows, *rows[:30]])
    params = root / "params.yaml"
    own = "{expect: expect_column_values_to_match_regex, column: body, arguments: {regex: parcel}, severity: warn}"
    params.write_text(params.read_text().replace("min_rows: 20}", f"min_rows: 20, expectations: [{own}]}}"))
    for verb in ("ingest", "validate", "split", "augment"):
        run_stage(root, verb)
    text = write_pages(root).read_text()
    assert "10 more</summary>" in text and text.count("exact duplicate, similarity 1.00") == 30
    assert "data/raw/tickets.csv:182" in text and rows[0][0] in text
    check = text.split("column values to match regex")[1].split("</tr>")[0]
    assert check.count('<code class="id">') == 3
    monkeypatch.setattr("rungwise.report.page.MAX_PAIRS", 25)
    text = write_pages(root).read_text()
    assert text.count("exact duplicate, similarity 1.00") == 25 and "and 5 more in <code>data/ingest/route/dup" in text


def test_labels_are_counted_on_each_side_and_arguments_are_plain_text(tmp_path):
    rows = [(f"{word} item{k % 3} {k}", f"label-{k % 3}", side) for k in range(30) for word, side in WORDS]
    root = write_sided(tmp_path / "ws", rows)
    for verb in ("ingest", "validate", "split", "augment"):
        run_stage(root, verb)
    text = write_pages(root).read_text()
    table = text.split("Labels of the validated rows")[1].split("</table>")[0]
    assert re.findall(r"<th[^>]*>([^<]*)</th>", table) == ["", "all", "training", "validation", "test", ""]
    for line in table.split("<tr>")[2:]:
        total, *sides = [int(n) for n in re.findall(r'<td class="number">(\d+)</td>', line)]
        assert total == sum(sides) == 60 and sides == [40, 10, 10]
    assert "min_value: 2<" in text and "{&#34;" not in text
    assert _arguments('{"type_": "str", "max_value": 5}') == "type: str, max_value: 5" and _arguments('{"a') == '{"a'
