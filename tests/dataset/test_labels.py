from rungwise.dataset.labels import alike, listed, merged, unseen_labels


def test_labels_that_look_alike_become_the_most_frequent_one():
    labels = ["Pay", "pay", "pay ", "1.0", "1", "1", "-2", "v1.0", "v1", "other"]
    groups = alike(labels)
    assert groups == [("1", "1.0"), ("Pay", "pay", "pay ")]
    assert merged(labels, groups) == ["Pay", "Pay", "Pay", "1", "1", "1", "-2", "v1.0", "v1", "other"]
    assert listed(groups).startswith("2 groups of labels that differ only in case")


def test_labels_are_shown_as_written_unless_they_look_the_same():
    assert listed([("Grüße", "grüße")]).endswith("'Grüße' = 'grüße'")
    assert listed([("caf\u00e9", "cafe\u0301")]).endswith(r"'caf\xe9' = 'cafe\u0301'")


def test_words_for_yes_and_no_are_alike_only_if_all_labels_are_such_words():
    assert alike(["true", "yes", "1", "0", "no", "no"]) == [("1", "true", "yes"), ("no", "0")]
    assert alike(["true", "yes", "maybe"]) == []


def test_what_labels_without_training_rows_mean():
    assert unseen_labels({"a": 3, "b": 14}, 50, "test") == (
        "2 labels without a training row in the test rows: 'b' (14), 'a' (3). No rung can answer these 17 of 50 rows, "
        "so the score is at most 0.66"
    )
