"""Learns to read handwritten digits: a small PyTorch network per width, each on a GPU of its own, and the best wins.

mwfs run mwfs.examples.digits:train --watch          (on a platform with GPUs: `mwfs up --gpus 1`)
"""

from typing import Annotated, NamedTuple

import mwfs
from mwfs.types import Dataset, Metrics, Model
from mwfs_types.constraints import Doc, Length, Range

try:
    import numpy as np
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset
except ImportError as error:
    raise ImportError(f"{error}. This example needs PyTorch and scikit-learn: pip install 'mwfs[torch]'") from error

WIDTHS = [16, 64, 256]
CLASSES = 10
BATCH = 128
SEED = 0
#: One GPU that the platform counts; an operator that finds none on its machine computes on the CPU.
ONE_GPU = mwfs.Resources(cpu=1, memory="2Gi", gpu=1)
Width = Annotated[int, Range(1, 4096)]


class Parts(NamedTuple):
    """Images as rows of 64 grey values and a label, dealt out at random."""

    train: Dataset
    validation: Dataset
    test: Dataset


class Best(NamedTuple):
    """The network that did best on the validation images."""

    model: Model
    width: Width


class Trained(NamedTuple):
    """The weights of a network, how good it is, and what it reads in images that it never saw."""

    model: Model
    metrics: Metrics
    predictions: Dataset


@mwfs.workflow
def train(
    widths: Annotated[list[Width], Length(1, 100), Doc("One network is trained for each width.")] = WIDTHS,
    epochs: Annotated[int, Range(1, 1000), Doc("How often a network sees each image.")] = 20,
    learning_rate: Annotated[float, Range(exclusive_minimum=0, maximum=1)] = 0.003,
    test_fraction: Annotated[float, Range(0.05, 0.4), Doc("Share of the images that no network learns from.")] = 0.2,
) -> Trained:
    """Trains one network per width, picks the best by validation, and reads digits that were held back."""
    parts = split(test_fraction)
    models = [fit(parts.train, width, epochs, learning_rate) for width in widths]
    scores = [evaluate(model, parts.validation) for model in models]
    best = pick_best(models, scores, widths)
    predictions = predict(best.model, parts.test)
    return Trained(best.model, measure(predictions, best.width, widths, scores), predictions)


@mwfs.operator
def split(test_fraction: float) -> Parts:
    """Deals out the 1,797 images that scikit-learn ships."""
    digits = load_digits()
    rows = np.column_stack([digits.data, digits.target])[np.random.default_rng(SEED).permutation(len(digits.target))]
    held_back = round(len(rows) * test_fraction)
    test, validation, learn = np.split(rows, [held_back, 2 * held_back])
    return Parts(train=dataset(learn), validation=dataset(validation), test=dataset(test))


@mwfs.operator(resources=ONE_GPU)
def fit(rows: Dataset, width: Width, epochs: int, learning_rate: float) -> Model:
    """Trains one network."""
    torch.manual_seed(SEED)
    images, labels = tensors(rows)
    batches = DataLoader(TensorDataset(images, labels), batch_size=BATCH, shuffle=True)
    network = build(width).to(device())
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    loss_of = nn.CrossEntropyLoss()
    for epoch in range(epochs):
        for seen, meant in batches:
            optimizer.zero_grad()
            loss = loss_of(network(seen.to(device())), meant.to(device()))
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch + 1} of {epochs} on {device()}: loss {loss.item():.4f}", flush=True)
    return Model({name: weights.cpu().numpy() for name, weights in network.state_dict().items()})


@mwfs.operator
def evaluate(model: Model, rows: Dataset) -> float:
    """Share of the images that are read right."""
    images, labels = tensors(rows)
    return float((read(model, images) == labels).float().mean())


@mwfs.operator
def pick_best(models: list[Model], scores: list[float], widths: list[Width]) -> Best:
    """The network with the highest score; of equals, the narrowest."""
    best = min(range(len(models)), key=lambda i: (-scores[i], widths[i]))
    print(f"Widths {widths} scored {scores}: width {widths[best]} is best.")
    return Best(model=models[best], width=widths[best])


@mwfs.operator
def predict(model: Model, rows: Dataset) -> Dataset:
    """For each image the digit that it shows, and the one that is read in it."""
    images, labels = tensors(rows)
    pairs = zip(labels.tolist(), read(model, images).tolist(), strict=True)
    return Dataset.from_rows({"digit": digit, "predicted_digit": predicted} for digit, predicted in pairs)


@mwfs.operator
def measure(predictions: Dataset, width: Width, widths: list[Width], scores: list[float]) -> Metrics:
    """How good the predictions are, and how each width did."""
    right = [row["digit"] == row["predicted_digit"] for row in predictions.rows()]
    figures = {"width": width, "images_held_back": len(right), "accuracy": sum(right) / len(right)}
    return Metrics(figures | {f"validation/width_{tried}": score for tried, score in zip(widths, scores, strict=True)})


def build(width: int) -> nn.Module:
    """A network with one hidden layer."""
    return nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, CLASSES))


def read(model: Model, images: torch.Tensor) -> torch.Tensor:
    """The digit in each image, by the weights of a fitted network."""
    weights = {name: torch.from_numpy(values) for name, values in model.estimator.items()}
    network = build(weights["0.bias"].numel())
    network.load_state_dict(weights)
    with torch.inference_mode():
        digits: torch.Tensor = network(images).argmax(dim=1)
    return digits


def device() -> torch.device:
    """The GPU that the platform chose for this attempt, or the CPU of a machine without."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def dataset(rows: np.ndarray) -> Dataset:
    """Rows of 64 grey values and a label, as a dataset."""
    columns = [f"pixel_{i}" for i in range(64)] + ["digit"]
    return Dataset.from_rows(dict(zip(columns, row, strict=True)) for row in rows.astype(int).tolist())


def tensors(rows: Dataset) -> tuple[torch.Tensor, torch.Tensor]:
    """Grey values from 0 to 1, shaped (images, 64), and the labels."""
    table = np.loadtxt(rows.path, delimiter=",", skiprows=1, dtype=np.float32)
    return torch.from_numpy(table[:, :64] / 16), torch.from_numpy(table[:, 64]).long()
