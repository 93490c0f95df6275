"""What the task's rows give away without any language model: TF-IDF of words with logistic regression.

A climb without this number can sell a fine-tune for something that a minute of scikit-learn does as well.
https://scikit-learn.org/stable/modules/feature_extraction.html#text-feature-extraction
"""

from collections.abc import Sequence

from components.records import Example, Prediction

NAME = "TF-IDF with logistic regression"
RECIPE = 1
"""Raised by hand whenever equal rows would be answered otherwise."""


def reference_predictions(train: Sequence[Example], rows: Sequence[Example]) -> tuple[Prediction, ...]:
    """Returns a prediction for each of `rows` by word 1- and 2-grams, weighted and regressed on `train`.

    There are none where it can't be fitted: a single label, or texts without a word.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    def text(example: Example) -> str:
        return "\n".join(value for _, value in sorted(example.fields.items()))

    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b"),
        LogisticRegression(C=30.0, max_iter=300),
    )
    try:
        model.fit([text(e) for e in train], [e.answer for e in train])
    except ValueError:  # scikit-learn's word for "nothing to fit"
        return ()
    shares_NL = model.predict_proba([text(e) for e in rows])
    labels = list(model.classes_)
    return tuple(
        Prediction(e.id, e.group, e.answer, str(labels[int(row.argmax())]), round(float(row.max()), 6))
        for e, row in zip(rows, shares_NL, strict=True)
    )
