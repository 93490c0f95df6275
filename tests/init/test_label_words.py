from rungwise.init.label_words import proposed, sentences, setting

ROWS = [
    ("What is the abbreviation of Texas ?", "ABBR"),
    ("Which abbreviations does the army use ?", "ABBR"),
    ("What abbreviation stands for it ?", "ABBR"),
    ("A number of people ?", "NUM"),
    ("The Number of the house", "NUM"),
    ("What numbing cream works ?", "NUM"),
    ("Who wrote Hamlet ?", "HUM"),
    ("What is a human ?", "HUM"),
]


def test_a_code_gets_the_word_of_its_rows_that_begins_with_it():
    words = proposed(ROWS)
    assert words == {"ABBR": "abbreviation", "HUM": "HUM", "NUM": "number"}  # one row alone proposes nothing
    (text,) = sentences(words)
    assert "correct them: ABBR: abbreviation, NUM: number." in text and "Write words for HUM." in text
    assert setting(words) == ', words: {"ABBR": "abbreviation", "HUM": "HUM", "NUM": "number"}'


def test_labels_that_are_words_need_none():
    assert proposed([("x", "card_arrival"), ("y", "billing")]) == {}
    assert sentences({}) == [] and setting({}) == ""


def test_numbers_say_nothing_and_each_word_is_used_once():
    assert proposed([("1st word", "1"), ("1st", "1"), ("x", "2")]) == {"1": "1", "2": "2"}
    rows = [("no number, none", "N"), ("number", "N"), ("number", "NU"), ("number", "NU")]
    assert proposed(rows) == {"N": "number", "NU": "NU"}


def test_a_word_of_another_label_is_not_taken():
    assert proposed([("billing", "BILL"), ("billing", "BILL"), ("x", "billing")]) == {
        "BILL": "BILL",
        "billing": "billing",
    }


def test_the_letters_of_options_get_no_words():
    assert proposed([("a and b", "A"), ("b but and", "B"), ("and but", "A"), ("but", "B")]) == {}
