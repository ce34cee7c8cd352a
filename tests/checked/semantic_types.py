"""The semantic types as static checkers see them: rows, signatures and settings keep their types."""

from collections.abc import Iterator
from typing import Any, NamedTuple, assert_type

from mwfs import Checkpoint, Dataset, Directory, FeatureSet, HyperparameterSet, Metrics, Model


class Click(NamedTuple):
    user: int
    clicks: int


def rows(raw: Dataset, clicks: Dataset[Click]) -> Dataset[Click]:
    assert_type(clicks.records(), Iterator[Click])
    assert_type(raw.rows(), Iterator[dict[str, Any]])
    assert_type(Dataset[Click].from_rows([Click(1, 2), {"user": 1, "clicks": 2}]), Dataset[Click])
    bare: Dataset = Dataset.from_rows([{"user": 1}])
    declared: Dataset[Click] = Dataset("clicks.csv")
    return declared if bare.columns else Dataset.from_rows([Click(1, 2)])


def features(clicks: Dataset[Click]) -> FeatureSet[Click]:
    found: FeatureSet[Click] = FeatureSet(clicks, keys="user", time=None)
    assert_type(found.data, Dataset[Click])
    assert_type(found.keys, tuple[str, ...])
    return found


def trained(settings: HyperparameterSet, folder: Directory) -> tuple[Model[Click, float], Checkpoint]:
    assert_type(settings["depth"], bool | int | float | str)
    assert_type(folder.files(), list[str])
    model: Model[Click, float] = Model({"depth": settings["depth"]})
    assert_type(model.signature.input_schema() if model.signature else {}, dict[str, Any])
    return model, Checkpoint(folder / "weights.bin", step=1, metrics=Metrics(loss=0.5))
