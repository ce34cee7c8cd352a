"""Whether a Dag from the wire can be believed: `check_dag`. After it, no index in the Dag needs to be checked again."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from google.protobuf.message import EncodeError

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.checking import check
from mwfs_types.dag_bindings import Bindings
from mwfs_types.dag_control import check_control
from mwfs_types.dag_fits import Fits, Looks, is_of
from mwfs_types.errors import BadDag, BadValue, TypeSystemError, UnsupportedType
from mwfs_types.limits import MAX_BACKOFF_SECONDS, MAX_LONG_NAME, MAX_NAME, MAX_PRIORITY, MAX_TIMEOUT_SECONDS
from mwfs_types.resource_names import problem_with
from mwfs_types.run_options import check_options
from mwfs_types.shapes import DIGEST, check_well_formed
from mwfs_types.type_rules import check_type

__all__ = ["FEATURES", "FORMAT", "BadDag", "DagLimits", "check_dag", "check_patch", "digest_of", "features_of"]

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
    bodies: int = 10_000
    #: Of the Dag itself: as many as a patch has instances.
    inputs: int = 1_000
    outputs: int = 1_000
    files: int = 10_000
    locations: int = 2_000_000
    #: Names of all `digest_parts` together.
    digest_parts: int = 200_000


def digest_of(data: bytes) -> str:
    """The address of these bytes: "sha256:" and 64 hexadecimal digits."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def check_dag(dag: dag_pb2.Dag, *, limits: DagLimits | None = None) -> Looks:
    """Raises BadDag unless each index is in range, each edge leads to a lower row, and each value fits where it goes.

    Linear in the size of the Dag. Runs no code and no regular expression that the Dag brings.
    Gives what it looked at in constants besides their kind; see `check_values`.
    """
    limits = limits or DagLimits()
    try:
        _check_header(dag)
        _check_counts(dag, limits)
        _check_types(dag, limits)
        _check_locations(dag)
        for index, operator in enumerate(dag.operators):
            _check_operator(index, operator, len(dag.types), limits)
        _check_section("", dag, dag)
        _check_hints(dag)
        _check_digest_parts(dag, limits)
        constants = list(dag.constants)
        kinds = [constant.WhichOneof("kind") for constant in constants]
        _check_constants(constants, kinds, limits)
        _check_inputs(dag)
        fits = Fits(dag, constants, kinds)
        for index, body in enumerate(dag.bodies):
            _check_body(index, body, dag, limits)
        for index, operator in enumerate(dag.operators):
            if operator.HasField("control"):
                check_control(dag, index, fits.budget)
        edges = limits.edges
        for index, body in enumerate(dag.bodies):
            edges = Bindings(
                dag, body, fits.section(), parameters=body.parameters, edges=edges, what=f"body {index}: "
            ).check([(f"the result of body {index}", body.result, body.result_type)])
        outputs = ((f"output {row.name!r}", row.item, row.type) for row in dag.outputs)
        Bindings(dag, dag, fits, parameters=[row.type for row in dag.inputs], edges=edges).check(outputs)
    except BadDag:
        raise
    except (TypeSystemError, RecursionError) as error:
        raise BadDag(str(error) or "it nests too deep") from None
    return fits.looks


def check_values(dag: dag_pb2.Dag, known: dag_pb2.Dag, looks: Looks) -> bool:
    """Whether `dag`, which is `known` but for its constants, is as good as that one. False: it takes all checks to tell.

    known: a Dag without control operators that has passed all checks; looks: what `check_dag` gave. Raises BadDag.
    """
    constants, others = list(dag.constants), list(known.constants)
    kinds = [constant.WhichOneof("kind") for constant in constants]
    if kinds != [other.WhichOneof("kind") for other in others]:
        return False
    if any(constants[index] != others[index] for index in looks.texts):
        return False
    try:
        _check_constants(constants, kinds, DagLimits())
        _check_inputs(dag)
        return all(
            constants[index] == others[index] or is_of(constants[index], type_) is fits
            for (index, type_), fits in looks.fits.items()
        )
    except BadDag:
        raise
    except (TypeSystemError, RecursionError) as error:
        raise BadDag(str(error) or "it nests too deep") from None


def check_patch(patch: dag_pb2.DagPatch, *, limits: DagLimits | None = None) -> None:
    """Raises BadDag unless a run may grow by these nodes: a Dag that can be believed, with its instances one after another."""
    limits = limits or replace(DagLimits(), inputs=2_000_000, outputs=1_000_000)
    check_dag(patch.dag, limits=limits)
    ends = patch.instance_end
    if len(ends) != len(patch.dag.outputs):
        raise BadDag(
            f"a patch has one output for each of its {len(ends):,} instances, found {len(patch.dag.outputs):,}"
        )
    if any(left > right for left, right in pairwise(ends)) or (ends[-1] if ends else 0) != len(patch.dag.node_operator):
        raise BadDag("the instances of a patch do not end one after another at its last node")
    try:
        if len(patch.carried) > 16 or sum(value.ByteSize() for value in patch.carried) > limits.constant_bytes:
            raise BadDag("a patch carries more than it may")
        for value in patch.carried:
            check_well_formed(value)
    except (BadValue, EncodeError, RecursionError) as error:
        raise BadDag(f"what a patch carries: {error}") from None


#: What a Dag may need of the engine that runs it.
FEATURES = ("apply", "control", "order")


def features_of(dag: dag_pb2.Dag) -> frozenset[str]:
    """Which of FEATURES a Dag uses."""
    found = set()
    if any(operator.HasField("control") for operator in dag.operators):
        found.add("control")
    if dag.order_node:
        found.add("order")
    if dag_pb2.BINDING_KIND_APPLY in dag.items.kind or dag_pb2.BINDING_KIND_APPLY in dag.arguments.kind:
        found.add("apply")
    return frozenset(found)


def _check_header(dag: dag_pb2.Dag) -> None:
    if dag.format != FORMAT:
        raise BadDag(
            f"its format is {dag.format}; this version reads format {FORMAT}. Use the same version of mwfs on both sides."
        )
    _check_long_name("the workflow", dag.workflow)
    check_options(dag.options)
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
        ("inputs", len(dag.inputs), limits.inputs),
        ("outputs", len(dag.outputs), limits.outputs),
        ("bodies", len(dag.bodies), limits.bodies),
        ("nodes in bodies", sum(len(body.node_operator) for body in dag.bodies), limits.nodes),
        ("items in bodies", sum(len(body.items.kind) for body in dag.bodies), limits.bindings),
        ("arguments in bodies", sum(len(body.arguments.kind) for body in dag.bodies), limits.bindings),
        ("pairs of order", len(dag.order_node), limits.edges),
    ):
        if count > most:
            raise BadDag(f"it has {count:,} {name}; the limit is {most:,}")
    signatures = sum(len(operator.parameters) + len(operator.outputs) for operator in dag.operators)
    if signatures > limits.signatures:
        raise BadDag(f"its operators have {signatures:,} parameters and outputs; the limit is {limits.signatures:,}")
    _check_lengths("location columns", dag.location_file, dag.location_line)


def _check_lengths(name: str, *columns: Sequence[int] | Sequence[str]) -> None:
    if len({len(column) for column in columns}) > 1:
        raise BadDag(f"the {name} have different lengths: {', '.join(str(len(column)) for column in columns)}")


def _check_section(where: str, section: dag_pb2.Dag | dag_pb2.Body, dag: dag_pb2.Dag) -> None:
    """The columns of a Dag or of a body: of one length, and in range."""
    _check_lengths(f"{where}node columns", section.node_operator, section.node_location)
    for name, rows in (("arguments", section.arguments), ("items", section.items)):
        _check_lengths(f"{where}columns of {name}", rows.kind, rows.a, rows.b)
    _check_range(f"{where}node_operator", section.node_operator, len(dag.operators))
    _check_range(f"{where}node_location", section.node_location, len(dag.location_file))
    _check_lengths(f"{where}order columns", section.order_node, section.order_after)
    _check_range(f"{where}order_node", section.order_node, len(section.node_operator))
    previous = (-1, -1)
    for pair in zip(section.order_node, section.order_after, strict=True):
        if pair[1] >= pair[0] or pair <= previous:
            raise BadDag(
                f"{where}order: pairs are sorted, each once, and lead to a lower node; found {pair} after {previous}"
            )
        previous = pair


def _check_hints(dag: dag_pb2.Dag) -> None:
    for name, column in (("node_rank", dag.node_rank), ("node_group", dag.node_group)):
        if column and len(column) != len(dag.node_operator):
            raise BadDag(f"{name} has {len(column)} rows; there are {len(dag.node_operator)} nodes")


def _check_digest_parts(dag: dag_pb2.Dag, limits: DagLimits) -> None:
    if len(dag.digest_parts) > 2 * limits.operators:
        raise BadDag(f"it has {len(dag.digest_parts):,} digest_parts; the limit is {2 * limits.operators:,}")
    names = 0
    for row in dag.digest_parts:
        if not DIGEST.fullmatch(row.digest):
            raise BadDag("digest_parts: a digest is not a digest")
        _check_lengths("columns of digest_parts", row.names, row.values)
        names += len(row.names)
        if names > limits.digest_parts:
            raise BadDag(f"its digest_parts have more than {limits.digest_parts:,} names")
        if any(len(text) > MAX_LONG_NAME for text in (*row.names, *row.values)):
            raise BadDag(f"digest_parts: a text has more than {MAX_LONG_NAME} characters")


def _check_body(index: int, body: dag_pb2.Body, dag: dag_pb2.Dag, limits: DagLimits) -> None:
    where = f"body {index}: "
    _check_long_name(f"{where}its name", body.name)
    if len(body.parameters) > limits.parameters:
        raise BadDag(f"{where}it has more than {limits.parameters} parameters")
    _check_range(f"{where}parameters", body.parameters, len(dag.types))
    _check_section(where, body, dag)
    if body.result >= len(body.items.kind) or body.result_type >= len(dag.types):
        raise BadDag(f"{where}its result or the type of it is out of range")


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
    for what in _TIMEOUTS:
        _check_number(f"{name}: {what}", getattr(operator, what), MAX_TIMEOUT_SECONDS)
    if abs(operator.priority) > MAX_PRIORITY:
        raise BadDag(f"{name}: the priority must be within ±{MAX_PRIORITY:,}, found {operator.priority}")
    _check_retry(name, operator.retry)
    if operator.failure_policy not in _FAILURE_POLICIES:
        raise BadDag(f"{name}: there is no failure policy number {operator.failure_policy}")
    if len(operator.later_resources) > 1_000:
        raise BadDag(f"{name}: later_resources has more than 1,000 rows")
    for what in ("code", "environment", "source"):
        digest = getattr(operator, f"{what}_digest")
        if digest and not DIGEST.fullmatch(digest):
            raise BadDag(f"{name}: its {what}_digest is not a digest")
    if operator.cached and not operator.pure:
        raise BadDag(f"{name}: only pure operators are cached")
    for resources in (operator.resources, *operator.later_resources):
        _check_resources(name, resources)


def _check_retry(name: str, retry: dag_pb2.RetryPolicy) -> None:
    if retry.attempts > 1_000:
        raise BadDag(f"{name}: retry.attempts must be at most 1,000, found {retry.attempts}")
    for what, most in (
        ("backoff_seconds", MAX_BACKOFF_SECONDS),
        ("max_backoff_seconds", MAX_BACKOFF_SECONDS),
        ("backoff_factor", 1_000),
        ("jitter", 1),
    ):
        _check_number(f"{name}: retry.{what}", getattr(retry, what), most)
    for what in ("except_errors", "only_errors"):
        errors = getattr(retry, what)
        if len(errors) > 1_000:
            raise BadDag(f"{name}: retry.{what} has more than 1,000 rows")
        for error in errors:
            _check_long_name(f"{name}: retry.{what}", error)


def _check_number(what: str, number: float, most: float) -> None:
    if not 0 <= number <= most:
        raise BadDag(f"{what} must be from 0 to {most:,}, found {number}")


def _check_resources(name: str, resources: dag_pb2.Resources) -> None:
    if resources.cpu_millis > 1_000_000_000 or resources.memory_bytes >= 1 << 60 or resources.gpus > 1_000_000:
        raise BadDag(f"{name} asks for more resources than any cluster has")
    if resources.gpu_type:
        _check_long_name(f"{name}: the gpu_type", resources.gpu_type)
    problem = problem_with(resources)
    if problem is not None:
        raise BadDag(f"{name}: {problem}")


_TIMEOUTS = ("timeout_seconds", "queue_timeout_seconds", "start_timeout_seconds", "heartbeat_timeout_seconds")
_FAILURE_POLICIES = frozenset(dag_pb2.FailurePolicy.values())


#: Kinds of constant that are small whatever their value.
_SMALL = frozenset(("null", "boolean", "integer", "number"))


def _check_constants(constants: Sequence[types_pb2.Value], kinds: Sequence[str | None], limits: DagLimits) -> None:
    most = limits.constant_bytes
    for index, kind in enumerate(kinds):
        if kind not in _SMALL and constants[index].ByteSize() > most:
            raise BadDag(f"constant {index} has more than {most:,} bytes: large values travel as artifacts")


def _check_inputs(dag: dag_pb2.Dag) -> None:
    _check_names("inputs", (row.name for row in dag.inputs))
    _check_names("outputs", (row.name for row in dag.outputs))
    for row in dag.inputs:
        if row.type >= len(dag.types) or row.constant >= len(dag.constants):
            raise BadDag(f"input {row.name!r}: its type or constant is out of range")
        if len(row.source) > MAX_LONG_NAME or not (row.source.isprintable() or not row.source):
            raise BadDag(f"input {row.name!r}: its source is not a short printable text")
        try:
            check(dag.constants[row.constant], dag.types[row.type], path=f"inputs.{row.name}")
        except BadValue as error:
            raise BadDag(str(error)) from None
    for output in dag.outputs:
        if output.type >= len(dag.types) or output.item >= len(dag.items.kind):
            raise BadDag(f"output {output.name!r}: its type or item is out of range")
        if output.location > len(dag.location_file):
            raise BadDag(f"output {output.name!r}: its location is out of range")


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
