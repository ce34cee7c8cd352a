"""What the tabular example makes of columns that other people chose."""

import numpy as np
import pandas as pd
import pytest

from mwfs.examples.tables import BadTable, Columns, Goal, choose_columns, delimiter_of, features_of, labels_of

ROWS = 40


def table(**columns) -> pd.DataFrame:
    return pd.DataFrame({"label": ["yes", "no"] * (ROWS // 2), **columns})


def goal_of(values) -> Goal:
    return choose_columns(table(label=values, x=range(ROWS)), "label", []).goal


def test_every_other_column_with_a_value_is_a_feature():
    columns = choose_columns(table(age=range(ROWS), city=["a"] * ROWS, empty=[None] * ROWS), "label", [])
    assert (columns.numbers, columns.texts) == (["age"], ["city"])


def test_only_the_named_features_are_used():
    assert choose_columns(table(age=range(ROWS), size=range(ROWS)), "label", ["size"]).features == ["size"]


@pytest.mark.parametrize(
    ("values", "goal"),
    [
        (["a", "b"] * 20, Goal.CLASS),
        ([True, False] * 20, Goal.CLASS),
        ([1, 2, 3, 4] * 10, Goal.CLASS),
        ([1.0, 2.0, np.nan, 4.0] * 10, Goal.CLASS),
        ([0.5, 1.5] * 20, Goal.QUANTITY),
        (range(ROWS), Goal.QUANTITY),
    ],
)
def test_labels_are_classes_or_a_quantity(values, goal):
    assert goal_of(values) is goal


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (["same"] * ROWS, "nothing to learn"),
        ([f"user-{i}" for i in range(ROWS)], "a name rather than a class"),
        ([1.0] * 5 + [None] * 35, "in 5 rows only"),
    ],
)
def test_a_label_that_cannot_be_learned_is_refused(values, reason):
    with pytest.raises(BadTable, match=reason):
        goal_of(values)


def test_a_missing_column_is_answered_with_those_that_exist_and_the_closest():
    with pytest.raises(BadTable) as refused:
        choose_columns(table(age=range(ROWS)), "Labels", [])
    message = str(refused.value)
    assert "Did you mean 'label'?" in message
    assert "'age'" in message
    assert "\n" not in message


def test_the_label_cannot_be_a_feature():
    with pytest.raises(BadTable, match="only copy it"):
        choose_columns(table(age=range(ROWS)), "label", ["age", "label"])


def test_a_table_of_nothing_but_the_label_is_refused():
    with pytest.raises(BadTable, match="nothing to learn from"):
        choose_columns(table(), "label", [])


def test_whole_classes_are_the_same_text_whether_read_as_numbers_or_not():
    columns = Columns(label="y", goal=Goal.CLASS, numbers=[], texts=[])
    assert list(labels_of(pd.DataFrame({"y": [1.0, 2.0]}), columns)) == ["1", "2"]
    assert list(labels_of(pd.DataFrame({"y": ["1", "2"]}), columns)) == ["1", "2"]


def test_features_that_are_no_numbers_where_numbers_belong_are_missing():
    columns = Columns(label="y", goal=Goal.CLASS, numbers=["n"], texts=["t"])
    features = features_of(pd.DataFrame({"n": ["1", "oops", "1e300"], "t": ["a", None, "c"]}), columns)
    assert features["n"].isna().tolist() == [False, True, False]
    assert np.isfinite(features["n"].to_numpy(dtype=np.float32)[2])
    assert features["t"].isna().tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("header", "delimiter"), [("a,b", ","), ("a;b;c", ";"), ("a\tb", "\t"), ('"x;y;z",b', ","), ("a", ",")]
)
def test_the_delimiter_is_the_one_that_the_header_uses(header, delimiter):
    assert delimiter_of(header) == delimiter
