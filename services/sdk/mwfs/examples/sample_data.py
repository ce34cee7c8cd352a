"""Writes a real table that scikit-learn ships as CSV: `python -m mwfs.examples.sample_data breast_cancer OUT.csv`."""

import sys
from pathlib import Path

import pandas as pd
from sklearn import datasets

#: What each table is labeled with, and the name of that column.
LABELS = {"breast_cancer": "diagnosis", "wine": "cultivar", "iris": "species", "diabetes": "progression"}


def sample_table(name: str) -> pd.DataFrame:
    """One of the tables of LABELS; classes by their names."""
    loaded = getattr(datasets, f"load_{name}")(as_frame=True)
    table: pd.DataFrame = loaded.frame.rename(columns={"target": LABELS[name]})
    if "target_names" in loaded:
        table[LABELS[name]] = [str(loaded.target_names[row]) for row in loaded.target]
    return table


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in LABELS:
        sys.exit(f"usage: python -m mwfs.examples.sample_data {{{','.join(LABELS)}}} OUT.csv")
    sample_table(sys.argv[1]).to_csv(Path(sys.argv[2]), index=False)
