"""Whether a Dag from the wire can be believed: `check_dag`. After it, no index in the Dag needs to be checked again."""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.checking import check
from mwfs_types.dag_bindings import Bindings
from mwfs_types.errors import BadDag, BadValue, TypeSystemError, UnsupportedType
from mwfs_types.limits import MAX_LONG_NAME, MAX_NAME
from mwfs_types.shapes import DIGEST
from mwfs_types.type_rules import check_type

__all__ = ["FORMAT", "BadDag", "DagLimits", "check_dag", "digest_of"]

#: The only layout of a Dag that there is so far.
FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DagLimits:
    """Bounds of a Dag. The defaults let a run of a million nodes through, and keep the check of a hostile one short."""

    nodes: int = 2_000_000
    #: Rows of `arguments`, and of `items`.
    bindings: int = 8_000_000
    #: What all arguments refer to together, with every collection spelled out.
    edges: int = 10_000_000
    constants: int = 4_000_000
    constant_bytes: int = 1024 * 1024
    types: int = 10_000
    #: Of all types together.
    type_bytes: int = 1024 * 1024
    operators: int = 10_000
    #: Parameters, and outputs, of one operator or of the workflow.
    parameters: int = 1_000
    #: Parameters and outputs of all operators together.
    signatures: int = 200_000
    files: int = 10_000
    locations: int = 2_000_000


def digest_of(data: bytes) -> str:
    """The address of these bytes: "sha256:" and 64 hexadecimal digits."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def check_dag(dag: dag_pb2.Dag, *, limits: DagLimits | None = None) -> None:
    """Raises BadDag unless each index is in range, each edge leads to a lower row, and each value fits where it goes.

    Linear in the size of the Dag. Runs no code and no regular expression that the Dag brings.
    """
    limits = limits or DagLimits()
    try:
        _check_header(dag)
        _check_counts(dag, limits)
        _check_types(dag, limits)
        _check_locations(dag)
        for index, operator in enumerate(dag.operators):
            _check_operator(index, operator, len(dag.types), limits)
        _check_nodes(dag)
        constants = list(dag.constants)
        kinds = [constant.WhichOneof("kind") for constant in constants]
        _check_constants(constants, kinds, limits)
        _check_inputs(dag, limits)
        Bindings(dag, constants, kinds, edges=limits.edges).check()
    except BadDag:
        raise
    except (TypeSystemError, RecursionError) as error:
        raise BadDag(str(error) or "it nests too deep") from None


def _check_header(dag: dag_pb2.Dag) -> None:
    if dag.format != FORMAT:
        raise BadDag(
            f"its format is {dag.format}; this version reads format {FORMAT}. Use the same version of mwfs on both sides."
        )
    _check_long_name("the workflow", dag.workflow)
    if dag.bundle_digest and not DIGEST.fullmatch(dag.bundle_digest):
        raise BadDag("its bundle_digest is not a digest")


def _check_counts(dag: dag_pb2.Dag, limits: DagLimits) -> None:
    for name, count, most in (
        ("nodes", len(dag.node_operator), limits.nodes),
        ("arguments", len(dag.arguments.kind), limits.bindings),
        ("items", len(dag.items.kind), limits.bindings),
        ("constants", len(dag.constants), limits.constants),
        ("types", len(dag.types), limits.types),
        ("operators", len(dag.operators), limits.operators),
        ("files", len(dag.files), limits.files),
        ("locations", len(dag.location_file), limits.locations),
        ("inputs", len(dag.inputs), limits.parameters),
        ("outputs", len(dag.outputs), limits.parameters),
    ):
        if count > most:
            raise BadDag(f"it has {count:,} {name}; the limit is {most:,}")
    signatures = sum(len(operator.parameters) + len(operator.outputs) for operator in dag.operators)
    if signatures > limits.signatures:
        raise BadDag(f"its operators have {signatures:,} parameters and outputs; the limit is {limits.signatures:,}")
    for name, columns in (
        ("node columns", (dag.node_operator, dag.node_location)),
        ("location columns", (dag.location_file, dag.location_line)),
        ("columns of arguments", (dag.arguments.kind, dag.arguments.a, dag.arguments.b)),
        ("columns of items", (dag.items.kind, dag.items.a, dag.items.b)),
    ):
        if len({len(column) for column in columns}) > 1:
            raise BadDag(f"the {name} have different lengths: {', '.join(str(len(column)) for column in columns)}")


def _check_types(dag: dag_pb2.Dag, limits: DagLimits) -> None:
    sizes = 0
    for index, type_ in enumerate(dag.types):
        sizes += type_.ByteSize()
        if sizes > limits.type_bytes:
            raise BadDag(f"its types have more than {limits.type_bytes:,} bytes")
        try:
            check_type(type_)
        except UnsupportedType as error:
            raise BadDag(f"type {index}: {error}") from None


def _check_locations(dag: dag_pb2.Dag) -> None:
    for index, name in enumerate(dag.files):
        if len(name) > MAX_LONG_NAME or "\0" in name:
            raise BadDag(f"file {index} has a bad name")
    _check_range("location_file", dag.location_file, len(dag.files))


def _check_operator(index: int, operator: dag_pb2.Operator, types: int, limits: DagLimits) -> None:
    name = f"operator {index}"
    _check_long_name(f"{name}: the module", operator.module)
    _check_long_name(f"{name}: the qualname", operator.qualname)
    if max(len(operator.parameters), len(operator.outputs)) > limits.parameters:
        raise BadDag(f"{name} has more than {limits.parameters} parameters or outputs")
    _check_names(f"{name}: parameters", (parameter.name for parameter in operator.parameters))
    _check_names(f"{name}: outputs", (output.name for output in operator.outputs))
    rows: list[dag_pb2.Parameter | dag_pb2.Output] = [*operator.parameters, *operator.outputs]
    for row in rows:
        if row.type >= types:
            raise BadDag(f"{name}: the type of {row.name!r} is row {row.type} of {types}")
    retry = operator.retry
    for what, seconds in (
        ("timeout_seconds", operator.timeout_seconds),
        ("retry.backoff_seconds", retry.backoff_seconds),
        ("retry.backoff_factor", retry.backoff_factor),
        ("retry.max_backoff_seconds", retry.max_backoff_seconds),
    ):
        if not (0 <= seconds <= 1e9 and math.isfinite(seconds)):
            raise BadDag(f"{name}: {what} must be from 0 to 1e9, found {seconds}")
    if retry.attempts > 10_000:
        raise BadDag(f"{name}: retry.attempts must be at most 10,000, found {retry.attempts}")
    if len(retry.except_errors) > 1_000:
        raise BadDag(f"{name}: retry.except_errors has more than 1,000 rows")
    for error in retry.except_errors:
        _check_long_name(f"{name}: retry.except_errors", error)
    if operator.failure_policy not in _FAILURE_POLICIES:
        raise BadDag(f"{name}: there is no failure policy number {operator.failure_policy}")
    resources = operator.resources
    if resources.cpu_millis > 1_000_000_000 or resources.memory_bytes >= 1 << 60 or resources.gpus > 1_000_000:
        raise BadDag(f"{name} asks for more resources than any cluster has")
    if resources.gpu_type:
        _check_long_name(f"{name}: the gpu_type", resources.gpu_type)


_FAILURE_POLICIES = frozenset(dag_pb2.FailurePolicy.values())


def _check_nodes(dag: dag_pb2.Dag) -> None:
    _check_range("node_operator", dag.node_operator, len(dag.operators))
    _check_range("node_location", dag.node_location, len(dag.location_file))


#: Kinds of constant that are small whatever their value.
_SMALL = frozenset(("null", "boolean", "integer", "number"))


def _check_constants(constants: Sequence[types_pb2.Value], kinds: Sequence[str | None], limits: DagLimits) -> None:
    most = limits.constant_bytes
    for index, kind in enumerate(kinds):
        if kind not in _SMALL and constants[index].ByteSize() > most:
            raise BadDag(f"constant {index} has more than {most:,} bytes: large values travel as artifacts")


def _check_inputs(dag: dag_pb2.Dag, limits: DagLimits) -> None:
    _check_names("inputs", (row.name for row in dag.inputs))
    _check_names("outputs", (row.name for row in dag.outputs))
    for row in dag.inputs:
        if row.type >= len(dag.types) or row.constant >= len(dag.constants):
            raise BadDag(f"input {row.name!r}: its type or constant is out of range")
        try:
            check(dag.constants[row.constant], dag.types[row.type], path=f"inputs.{row.name}")
        except BadValue as error:
            raise BadDag(str(error)) from None
    for output in dag.outputs:
        if output.type >= len(dag.types) or output.item >= len(dag.items.kind):
            raise BadDag(f"output {output.name!r}: its type or item is out of range")


def _check_range(name: str, column: Sequence[int], count: int) -> None:
    if column and max(column) >= count:
        row = next(row for row, index in enumerate(column) if index >= count)
        raise BadDag(f"{name}[{row}] is {column[row]}, but there are {count} rows")


def _check_names(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if not name.isidentifier() or len(name) > MAX_NAME:
            raise BadDag(f"{what} are named by identifiers of at most {MAX_NAME} characters, found {name[:80]!r}")
        if name in seen:
            raise BadDag(f"{what}: {name!r} is there twice")
        seen.add(name)


def _check_long_name(what: str, name: str) -> None:
    if not name or len(name) > MAX_LONG_NAME or not name.isprintable():
        raise BadDag(f"{what} must be named by 1 to {MAX_LONG_NAME} printable characters, found {name[:80]!r}")
