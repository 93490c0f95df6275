"""The rung without a language model: linear models of words and letters for every format of answer.

`features` turns texts into numbers, `linear` fits and scores, `labels`, `lists` and `replies` answer in one format
each, `candidates` and `phrases` find items in the text, and `model` puts them together, saves and loads. It shows
whether a task needs a language model at all.
"""

from rungwise.model.classical.model import MODEL, WEIGHTS, Classical, Fitted, fit

__all__ = ["MODEL", "WEIGHTS", "Classical", "Fitted", "fit"]
