"""Reading a CSV that somebody else made: its delimiter, which columns are numbers, and whether the label is a class."""

import codecs
import difflib
import enum
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

#: A numeric label is a class when all its values are whole and not more than this are different; else a quantity.
MOST_NUMERIC_CLASSES = 20
#: A text label with more different values than this is no class.
MOST_CLASSES = 500
#: Rows with a label that make a split into three worth while.
FEWEST_ROWS = 10
#: scikit-learn's trees compute, and sum up columns, in 32 bits.
LARGEST = 1e30


class BadTable(ValueError):
    """The CSV, or what was said about its columns, cannot be learned from."""


class Goal(enum.Enum):
    """What a model predicts."""

    CLASS = "class"
    QUANTITY = "quantity"


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """What each column of a table is used as."""

    label: str
    goal: Goal
    numbers: list[str]
    #: Text of any kind: codes, names, dates.
    texts: list[str]

    @property
    def features(self) -> list[str]:
        return self.numbers + self.texts

    @property
    def prediction(self) -> str:
        """The column in which predictions stand beside the label."""
        return f"predicted_{self.label}"


def read_csv(path: Path, columns: Columns | None = None) -> pd.DataFrame:
    """A table; with `columns`, read as what they say, so that all parts of one table agree. Raises BadTable."""
    as_text = [] if columns is None else list(columns.texts)
    if columns is not None and columns.goal is Goal.CLASS:
        as_text += [columns.label, columns.prediction]
    try:
        encoding = encoding_of(path)
        with path.open(encoding=encoding, errors="replace") as file:
            delimiter = delimiter_of(file.readline())
        table = pd.read_csv(
            path,
            sep=delimiter,
            dtype=dict.fromkeys(as_text, str),
            encoding=encoding,
            encoding_errors="replace",
            skipinitialspace=True,
            index_col=False,
            low_memory=False,
        )
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise BadTable(f"This is not a CSV file with a header line: {str(error).strip()}.") from error
    return table.replace([np.inf, -np.inf], np.nan)


def encoding_of(path: Path) -> str:
    """UTF-8 where it can be; else what spreadsheets write."""
    with path.open("rb") as file:
        beginning = file.read(1 << 20)
    if beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(beginning)
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8-sig"


def delimiter_of(header: str) -> str:
    """The delimiter that a header line uses most, outside of quotes."""
    unquoted = re.sub(r'"[^"]*"', "", header)
    return max(",;\t|", key=unquoted.count)


def choose_columns(table: pd.DataFrame, label: str, features: list[str]) -> Columns:
    """What to learn from. `features` names columns; empty means all but the label. Raises BadTable."""
    for name in [label, *features]:
        if name not in table.columns:
            raise BadTable(_no_such_column(name, [str(column) for column in table.columns]))
    if label in features:
        raise BadTable(
            f"The label {label!r} is among the features, so a model would only copy it. Leave it out of them."
        )
    filled = [name for name in features or table.columns if name != label and table[name].notna().any()]
    if not filled:
        raise BadTable(f"No column but the label {label!r} has a value in it, so there is nothing to learn from.")
    return Columns(
        label=label,
        goal=_goal_of(table[label].dropna()),
        numbers=[name for name in filled if pd.api.types.is_numeric_dtype(table[name])],
        texts=[name for name in filled if not pd.api.types.is_numeric_dtype(table[name])],
    )


def labels_of(table: pd.DataFrame, columns: Columns) -> pd.Series:
    """The labels: quantities as numbers; classes as text, and 1.0 as "1"."""
    label = table[columns.label]
    if columns.goal is Goal.QUANTITY:
        return label.astype(float)
    return label.astype("int64").astype(str) if _is_number(label) else label.astype(str)


def features_of(table: pd.DataFrame, columns: Columns) -> pd.DataFrame:
    """The features: numbers as floats, texts as text; what is missing, or no number where one belongs, is NaN."""
    numbers = table[columns.numbers].apply(pd.to_numeric, errors="coerce").astype(float).clip(-LARGEST, LARGEST)
    texts = table[columns.texts].astype(object)
    return pd.concat([numbers, texts.where(texts.notna(), np.nan)], axis=1)


def _goal_of(label: pd.Series) -> Goal:
    """Whether labels name classes or measure a quantity."""
    if len(label) < FEWEST_ROWS:
        raise BadTable(
            f"The label column {label.name!r} has a value in {len(label)} rows only; at least {FEWEST_ROWS} are needed."
        )
    different = label.nunique()
    if different == 1:
        raise BadTable(
            f"Every row has the label {str(label.iloc[0])!r}, so there is nothing to learn. Is {label.name!r} the right column?"
        )
    if _is_number(label):
        whole = bool((label % 1 == 0).all())
        return Goal.CLASS if whole and different <= MOST_NUMERIC_CLASSES else Goal.QUANTITY
    if different > min(MOST_CLASSES, len(label) // 2):
        raise BadTable(
            f"The label column {label.name!r} has {different:,} different texts in {len(label):,} rows: that is a name "
            "rather than a class. Choose another column."
        )
    return Goal.CLASS


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _no_such_column(name: str, columns: list[str]) -> str:
    """One paragraph: the column that was probably meant, and all that there are."""
    folded = {column.casefold().strip(): column for column in columns}
    close = difflib.get_close_matches(name.casefold().strip(), folded, n=1, cutoff=0.5)
    guess = f" Did you mean {folded[close[0]]!r}?" if close else ""
    more = f" and {len(columns) - 30} more" if len(columns) > 30 else ""
    return f"The table has no column {name!r}.{guess} Its columns are {', '.join(map(repr, columns[:30]))}{more}."
