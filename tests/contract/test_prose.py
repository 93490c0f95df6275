"""The prose check finds the glossary's phrases, in prose and in identifiers, and nothing that is allowed."""

import pytest

from infra import prose
from tests.conftest import REPOSITORY

PAGE = """\
# Contributing
## Glossary
| say | not |
|---|---|
| the sea | `big water`, `SEA`, puddle |
| `boat` | `swim box` |

| phrase | allowed | reason |
|---|---|---|
| `big water` | `no big water`, `maps/` | a reason |
## Next
big water
"""


def phrases(text, path="x.py"):
    return [(hit.line, hit.rule.phrase) for hit in prose.hits(path, text, prose.read_glossary(PAGE))]


@pytest.mark.parametrize(
    "text",
    [
        "the big water",
        "Big Water.",
        "def test_big_water_is_found():",
        "# it is the big\n    # water",
        "'''A docstring about big\n    water.'''",
    ],
)
def test_a_phrase_is_found_in_prose_in_identifiers_and_across_lines(text):
    assert phrases(text) == [(1, "big water")]


@pytest.mark.parametrize("text", ["bigwater", "big waters", "no big water", "a puddle", "sea", "the_seas"])
def test_other_words_and_allowed_uses_are_not(text):
    assert phrases(text) == []


def test_a_phrase_in_capitals_is_found_in_capitals_only():
    assert phrases("sea\nSEA = 1") == [(2, "SEA")]


def test_an_allowed_use_does_not_hide_another_hit_on_the_same_line():
    assert phrases("no big water, big water") == [(1, "big water")]


def test_a_path_allows_a_phrase_in_a_folder():
    assert phrases("big water", "maps/x.py") == [] != phrases("big water", "maps2/x.py")


def test_the_glossary_itself_is_left_out_and_the_rest_of_its_page_is_not():
    assert phrases(PAGE, prose.GLOSSARY) == [(12, "big water")]


def test_a_hit_says_where_it_is_and_what_to_say():
    (hit,) = prose.hits("x.py", "\na swim_box", prose.read_glossary(PAGE))
    assert str(hit) == "x.py:2: swim box -> `boat`"


def test_a_page_without_phrases_is_an_error():
    with pytest.raises(ValueError, match="no phrase in backticks"):
        prose.read_glossary("## Glossary\n| say | not |\n|---|---|\n| sea | puddle |\n")


def test_results_and_the_changelog_are_not_searched():
    names = list(prose.searched(REPOSITORY))
    assert "CONTRIBUTING.md" in names and "components/rungwise/core/errors.py" in names
    assert not [name for name in names if name.startswith("benchmarks/results/") or name == "CHANGELOG.md"]


def test_the_repository_follows_the_glossary():
    assert [str(hit) for hit in prose.check(REPOSITORY)] == []


def test_hits_are_counted_by_folder():
    rule = prose.Rule("a", "b")
    paths = ("components/rungwise/core/errors.py", "components/rungwise/core/table.py", "README.md", "tests/demo/x.py")
    counted = prose.counts(prose.Hit(path, 1, rule) for path in paths)
    assert counted == {"components/rungwise/core": 2, "README.md": 1, "tests/demo": 1}
