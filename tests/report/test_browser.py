import random

import pytest

from rungwise.pipeline.stages import run_stage
from rungwise.report.page import write_pages
from tests.conftest import write_sided
from tests.report.browser import CHROMIUM, browser

ARABIC = "مرحبا الطلب رقم متأخر جدا وأريد استرداد المال من فضلكم شكرا"
LONG = "Donaudampfschifffahrtsgesellschaft" * 8


@pytest.fixture
def strange(tmp_path):
    """A workspace with 150 labels, long words and names, text from right to left, duplicates and doubted labels."""
    rng = random.Random(5)
    words = [f"word{k}" for k in range(400)]
    labels = [*(f"label-{k:03}" for k in range(147)), f"a-label-{'x' * 110}", "مرتجعات", "many words " * 8 + "end"]
    starts = [ARABIC, LONG, f"https://example.com/{'a/' * 90}", "first line second\x1b[31m"]
    rows = [
        (f"{starts[k % 4]} {' '.join(rng.sample(words, 8))} item{k % 150}", labels[k % 150].strip(), side)
        for side, n in (("train", 900), ("dev", 300), ("test", 300))
        for k in range(n)
    ]
    wrong = [(f"{text} more", labels[k], "train") for k, (text, _, _) in enumerate(rows[200:240])]
    root = write_sided(tmp_path / "ws", [*rows, *rows[:30], *wrong])
    params = root / "params.yaml"
    params.write_text(params.read_text().replace("ingest:\n", "ingest:\n  max_rejected_share: 0.5\n"))
    for verb in ("ingest", "validate", "split", "augment"):
        run_stage(root, verb)
    return write_pages(root)


@pytest.mark.slow  # a browser starts
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is on PATH")
def test_pages_fit_a_phone_and_a_desk_are_readable_and_load_nothing(strange, tmp_path):
    text = strange.read_text()
    assert "<bdi>label-146</bdi>" in text and 'dir="auto"' in text and "Labels that may be wrong" in text
    with browser(tmp_path / "browser") as chromium:
        for page in (strange, strange.with_name("expectations-route.html")):
            for width in (375, 1440):
                for is_dark in (False, True):
                    seen = chromium.see(page, width, is_dark=is_dark)
                    at = (page.name, width, is_dark)
                    assert not seen.scrolls and not seen.wide, (at, seen.wide[:5])
                    assert not seen.faint, (at, seen.faint[:5])
                    assert not seen.errors and not seen.requests, (at, seen.errors, seen.requests)


@pytest.mark.slow  # a browser starts
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is on PATH")
def test_the_browser_sees_what_is_wrong_with_a_page(tmp_path):
    page = tmp_path / "page.html"
    page.write_text(
        f"<!doctype html><style>p {{ color: #ccc; background: #fff }}</style><p>faint<div>{LONG}</div>"
        "<img src='http://127.0.0.1:9/none.png'><script>console.error('no'); none()</script>"
    )
    with browser(tmp_path / "browser") as chromium:
        seen = chromium.see(page, 375)
    assert seen.scrolls and seen.wide == [f"DIV {LONG[:40]}"] and seen.faint == ["1.6 P faint"]
    assert seen.requests == ["http://127.0.0.1:9/none.png"] and len(seen.errors) >= 2
