"""Tables with declared columns, and the other semantic types, on the platform."""

import shutil
from pathlib import Path
from typing import NamedTuple

import mwfs
from mwfs import Checkpoint, Dataset, Directory, FeatureSet, HyperparameterSet, Model


class Person(NamedTuple):
    name: str
    age: int


class Features(NamedTuple):
    age: int


class Summary(NamedTuple):
    oldest: str
    takes: str
    step: int
    files: list[str]


@mwfs.operator
def clean(raw: Dataset) -> Dataset[Person]:
    return raw


@mwfs.operator
def fit(people: Dataset[Person], settings: HyperparameterSet) -> Model[Features, float]:
    return Model({"rows": len(list(people.records())), **settings})


@mwfs.operator
def save(model: Model[Features, float]) -> Checkpoint:
    folder = Path("saved")
    folder.mkdir(exist_ok=True)
    (folder / "rows.txt").write_text(str(model.estimator["rows"]))
    return Checkpoint(folder, step=7)


@mwfs.operator
def summary(people: Dataset[Person], model: Model[Features, float], at: Checkpoint, folder: Directory) -> Summary:
    assert (at.path / "rows.txt").read_text() == "2"
    oldest = max(people.records(), key=lambda one: one.age).name
    return Summary(oldest, str(model.signature), at.step, folder.files())


@mwfs.workflow
def summarise(raw: Dataset, folder: Directory, settings: HyperparameterSet) -> Summary:
    people = clean(raw)
    model = fit(people, settings)
    return summary(people, model, save(model), folder)


@mwfs.workflow
def declared(people: Dataset[Person]) -> Dataset[Person]:
    return people


@mwfs.operator
def add_note(folder: Directory) -> Directory:
    shutil.copytree(folder.path, "noted")
    Path("noted/note.txt").write_text("read")
    return Directory("noted")


@mwfs.operator
def label(people: Dataset[Person]) -> FeatureSet[Person]:
    return FeatureSet(Dataset[Person].from_rows(people.records()), keys=["name"])


class Noted(NamedTuple):
    folder: Directory
    features: FeatureSet[Person]


@mwfs.workflow
def note(folder: Directory, people: Dataset[Person]) -> Noted:
    return Noted(add_note(folder), label(people))
