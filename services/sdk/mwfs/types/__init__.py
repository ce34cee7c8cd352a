"""The semantic types that operators pass on: Dataset, FeatureSet, Model, Checkpoint, Metrics, HyperparameterSet, File, Directory.

File-like values hold a path, a value in memory, or an artifact whose bytes are fetched when they are first asked for.
"""

from mwfs.types.datasets import Dataset
from mwfs.types.feature_sets import FeatureSet
from mwfs.types.files import Directory, File
from mwfs.types.models import Model, ModelSignature
from mwfs.types.named_values import HyperparameterSet, Metrics
from mwfs.types.training import Checkpoint

__all__ = [
    "Checkpoint",
    "Dataset",
    "Directory",
    "FeatureSet",
    "File",
    "HyperparameterSet",
    "Metrics",
    "Model",
    "ModelSignature",
]
