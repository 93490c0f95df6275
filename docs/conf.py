"""Settings of the documentation site: Sphinx with the Furo theme, pages in Markdown (MyST).

`make docs` builds it into docs/_build and treats every warning as an error. The built pages load nothing from other
hosts: Furo uses the system's fonts and carries its own scripts. Marked places in the reference pages are filled in by
`generate`, so that they always show the installed code.
"""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import generate

project = "Rungwise"
author = "the Rungwise authors"
html_title = "Rungwise"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["deflist", "colon_fence"]
myst_heading_anchors = 4
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["rungwise.css"]
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1b5e8c", "color-brand-content": "#1b5e8c"},
    "dark_css_variables": {"color-brand-primary": "#7fb8de", "color-brand-content": "#7fb8de"},
}
exclude_patterns = ["_build"]
smartquotes = False
default_role = "code"  # docstrings put names in single backticks
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_use_unqualified_type_names = True
suppress_warnings = ["myst.xref_ambiguous"]


def _fill_in(app: Any, docname: str, source: list[str]) -> None:
    source[0] = generate.filled(source[0])


def _keep_colons(_app: Any, what: str, _name: str, _thing: Any, _options: Any, lines: list[str]) -> None:
    if what == "attribute" and lines:  # Napoleon takes what stands before a colon for the attribute's type
        lines[0] = lines[0].replace(": ", " \u2013 ", 1)


def setup(app: Any) -> None:
    """Fills in the generated parts of a page when Sphinx reads it."""
    app.connect("source-read", _fill_in)
    app.connect("autodoc-process-docstring", _keep_colons, priority=100)
