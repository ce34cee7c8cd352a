"""Whether the control operators and bodies of a Dag fit together: each kind has its parts, and their types agree."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.assignability import Budget, is_assignable
from mwfs_types.errors import BadDag
from mwfs_types.limits import MAX_LONG_NAME
from mwfs_types.rendering import describe
from mwfs_types.run_options import check_options

Type = types_pb2.Type

_NAMES = {number: name.removeprefix("CONTROL_KIND_").lower() for name, number in dag_pb2.ControlKind.items() if number}
#: Kind → the bodies that it must have, and those that it may have.
_BODIES: dict[int, tuple[frozenset[str], frozenset[str]]] = {
    kind: (frozenset(needed), frozenset(allowed))
    for kind, needed, allowed in (
        (dag_pb2.CONTROL_KIND_MAP, ("body",), ()),
        (dag_pb2.CONTROL_KIND_FILTER, ("condition",), ()),
        (dag_pb2.CONTROL_KIND_GROUP, ("body",), ()),
        (dag_pb2.CONTROL_KIND_REDUCE, ("body",), ()),
        (dag_pb2.CONTROL_KIND_WHEN, ("body", "otherwise"), ()),
        (dag_pb2.CONTROL_KIND_REPEAT, ("body", "condition"), ()),
        (dag_pb2.CONTROL_KIND_RACE, (), ("body", "condition", "candidates")),
        (dag_pb2.CONTROL_KIND_TRY, ("body",), ("otherwise", "cleanup")),
        (dag_pb2.CONTROL_KIND_CALL, ("body",), ()),
        (dag_pb2.CONTROL_KIND_CHILD, ("body",), ()),
        (dag_pb2.CONTROL_KIND_DYNAMIC, (), ()),
        (dag_pb2.CONTROL_KIND_SIGNAL, (), ()),
        (dag_pb2.CONTROL_KIND_SLEEP, (), ()),
    )
}
#: Kinds whose leading arguments are lists of elements, exactly one unless it is a map.
_OVER_LISTS = frozenset(
    (dag_pb2.CONTROL_KIND_MAP, dag_pb2.CONTROL_KIND_FILTER, dag_pb2.CONTROL_KIND_GROUP, dag_pb2.CONTROL_KIND_REDUCE)
)
_BOOL = Type(scalar=types_pb2.SCALAR_KIND_BOOL)
_TEXT = Type(scalar=types_pb2.SCALAR_KIND_STRING)
_FLOAT = Type(scalar=types_pb2.SCALAR_KIND_FLOAT)
_NULL = Type(scalar=types_pb2.SCALAR_KIND_NULL)
_INT = Type(scalar=types_pb2.SCALAR_KIND_INT)
#: Fields of the record that a fallback is given.
FAILURE_FIELDS = ("error_type", "message", "file", "line", "traceback")
MAX_LISTS = 100
_WORKFLOW = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", re.ASCII)
MAX_ROUNDS = 1_000_000


def check_control(dag: dag_pb2.Dag, index: int, budget: Budget) -> None:
    """Raises BadDag unless the control operator of this row is one that an engine can run. Rows of types were checked before."""
    operator = dag.operators[index]
    control = operator.control
    if control.kind not in _BODIES:
        raise BadDag(f"operator {index}: there is no control kind {control.kind}")
    _Checked(dag, index, operator, control, budget).check()


class _Checked:
    def __init__(
        self, dag: dag_pb2.Dag, index: int, operator: dag_pb2.Operator, control: dag_pb2.Control, budget: Budget
    ) -> None:
        self.dag = dag
        self.where = f"operator {index} ({_NAMES[control.kind]})"
        self.control = control
        self.parameters = [dag.types[row.type] for row in operator.parameters]
        self.outputs = [dag.types[row.type] for row in operator.outputs]
        self.budget = budget

    def check(self) -> None:
        control = self.control
        self._check_numbers()
        self._check_bodies()
        if control.kind == dag_pb2.CONTROL_KIND_DYNAMIC:
            if not self.outputs:
                raise BadDag(f"{self.where} has an output")
            return
        if len(self.outputs) != 1:
            raise BadDag(f"{self.where} has one output, found {len(self.outputs)}")
        result = self.outputs[0]
        match control.kind:
            case dag_pb2.CONTROL_KIND_SIGNAL:
                if not control.name.isidentifier() or len(control.name) > 128:
                    raise BadDag(f"{self.where}: a signal is named by an identifier of at most 128 characters")
                self._expect_arguments(0, exactly=True)
            case dag_pb2.CONTROL_KIND_SLEEP:
                self._expect_arguments(1, exactly=True)
                self._fits(self.parameters[0], _FLOAT, "its seconds")
                self._fits(_NULL, result, "its result")
            case dag_pb2.CONTROL_KIND_MAP:
                self._body(control.body, self._elements(), _item_of(result))
            case dag_pb2.CONTROL_KIND_FILTER:
                self._body(control.condition, self._elements(), _BOOL)
                self._fits(self.parameters[0], result, "its list")
            case dag_pb2.CONTROL_KIND_GROUP:
                self._body(control.body, self._elements(), _TEXT)
                if result.WhichOneof("kind") != "map":
                    raise BadDag(f"{self.where} gives a dict of lists, found {describe(result)}")
                self._fits(self.parameters[0], result.map.value, "its list")
            case dag_pb2.CONTROL_KIND_REDUCE:
                (element,) = self._elements()
                self._body(control.body, [element, element], element)
                self._fits(element, result, "its element")
            case dag_pb2.CONTROL_KIND_WHEN:
                self._expect_arguments(1)
                self._fits(self.parameters[0], _BOOL, "its condition")
                self._body(control.body, [], result)
                self._body(control.otherwise, [], result)
            case dag_pb2.CONTROL_KIND_REPEAT:
                self._expect_arguments(1)
                state = self.parameters[0]
                self._body(control.condition, [state], _BOOL)
                self._body(control.body, [state], state)
                self._fits(state, result, "its state")
            case dag_pb2.CONTROL_KIND_RACE:
                self._check_race(_item_of(result))
            case dag_pb2.CONTROL_KIND_TRY:
                self._check_try(result)
            case dag_pb2.CONTROL_KIND_CALL:
                self._body(control.body, self.parameters, result)
            case dag_pb2.CONTROL_KIND_CHILD:
                self._check_child()
                self._body(control.body, self.parameters, result)

    def _check_numbers(self) -> None:
        control = self.control
        if not (math.isfinite(control.tolerate) and 0 <= control.tolerate <= 1):
            raise BadDag(f"{self.where}: tolerate is from 0 to 1, found {control.tolerate}")
        if not (math.isfinite(control.timeout_seconds) and 0 <= control.timeout_seconds <= 1e9):
            raise BadDag(f"{self.where}: timeout_seconds is from 0 to 1e9, found {control.timeout_seconds}")
        needs_limit = control.kind in (dag_pb2.CONTROL_KIND_REPEAT, dag_pb2.CONTROL_KIND_RACE)
        if (needs_limit and not control.limit) or control.limit > MAX_ROUNDS:
            raise BadDag(f"{self.where}: limit is from 1 to {MAX_ROUNDS:,}, found {control.limit}")
        if control.lists > MAX_LISTS or control.lists > len(self.parameters):
            raise BadDag(f"{self.where}: it has no {control.lists} lists")
        if len(control.errors) > 1_000 or any(len(error) > MAX_LONG_NAME or not error for error in control.errors):
            raise BadDag(f"{self.where}: errors has more than 1,000 rows, or a name that is too long")

    def _check_child(self) -> None:
        name = self.control.name
        if len(name) > MAX_LONG_NAME or not _WORKFLOW.fullmatch(name):
            raise BadDag(f"{self.where} names its workflow as `module:name`, found {name[:80]!r}")
        check_options(self.control.options)

    def _check_bodies(self) -> None:
        control = self.control
        present = {name for name in ("body", "condition", "otherwise", "cleanup") if getattr(control, name)}
        if control.candidates:
            present.add("candidates")
        needed, allowed = _BODIES[control.kind]
        if not needed <= present <= needed | allowed:
            found = ", ".join(sorted(present)) or "none"
            raise BadDag(f"{self.where} has the bodies {', '.join(sorted(needed)) or 'of its kind'}, found {found}")
        if len(control.candidates) > 10_000:
            raise BadDag(f"{self.where} has more than 10,000 candidates")
        rows = [control.body, control.condition, control.otherwise, control.cleanup, *control.candidates]
        if max(rows) > len(self.dag.bodies) or 0 in control.candidates:
            raise BadDag(f"{self.where} refers to a body that is not there; there are {len(self.dag.bodies)}")

    def _expect_arguments(self, count: int, *, exactly: bool = False) -> None:
        found = len(self.parameters)
        if found < count or (exactly and found > count):
            raise BadDag(f"{self.where} takes {count} arguments, found {found}")

    def _elements(self) -> list[Type]:
        count = self.control.lists
        if not count or (self.control.kind != dag_pb2.CONTROL_KIND_MAP and count > 1):
            raise BadDag(f"{self.where} is over one list, found {count}")
        return [self._element(kind) for kind in self.parameters[:count]]

    def _element(self, kind: Type) -> Type:
        if kind.WhichOneof("kind") != "list":
            raise BadDag(f"{self.where} is over a list, found {describe(kind)}")
        return kind.list.item

    def _captured(self) -> list[Type]:
        control = self.control
        if control.kind in (dag_pb2.CONTROL_KIND_CALL, dag_pb2.CONTROL_KIND_CHILD):
            return []
        named = 1 if control.kind in (dag_pb2.CONTROL_KIND_WHEN, dag_pb2.CONTROL_KIND_REPEAT) else control.lists
        return self.parameters[named:]

    def _body(self, row: int, named: Sequence[Type], result: Type | None) -> None:
        """A body takes what its kind names and then captured arguments, and gives the result (None: anything)."""
        body = self.dag.bodies[row - 1]
        parameters = [self.dag.types[kind] for kind in body.parameters]
        given = [*named, *self._captured()]
        if not len(named) <= len(parameters) <= len(given):
            raise BadDag(f"{self.where}: body {row - 1} takes {len(parameters)} values, {len(given)} are there")
        for position, (mine, theirs) in enumerate(zip(given, parameters, strict=False)):
            self._fits(mine, theirs, f"parameter {position} of body {row - 1}")
        if result is not None:
            self._fits(self.dag.types[body.result_type], result, f"the result of body {row - 1}")

    def _fits(self, source: Type, target: Type, what: str) -> None:
        if source != target and not is_assignable(source, target, budget=self.budget):
            raise BadDag(f"{self.where}: {what} is {describe(source)}, which is not {describe(target)}")

    def _check_race(self, result: Type) -> None:
        control = self.control
        if bool(control.lists) == bool(control.candidates) or bool(control.lists) != bool(control.body):
            raise BadDag(f"{self.where} has either a list and a body, or candidates")
        if control.lists:
            self._body(control.body, [self._element(kind) for kind in self.parameters[: control.lists]], result)
        for row in control.candidates:
            self._body(row, [], result)
        if control.condition:
            self._body(control.condition, [result], _BOOL)

    def _check_try(self, result: Type) -> None:
        control = self.control
        self._body(control.body, [], result)
        if control.cleanup:
            self._body(control.cleanup, [], None)
        if control.otherwise:
            parameters = self.dag.bodies[control.otherwise - 1].parameters
            failure = self.dag.types[parameters[0]] if parameters else Type()
            fields = [(field.name, field.type) for field in failure.record.fields]
            if [name for name, _ in fields] != list(FAILURE_FIELDS) or any(
                kind != (_INT if name == "line" else _TEXT) for name, kind in fields
            ):
                raise BadDag(f"{self.where}: its fallback takes a failure record, found {describe(failure)}")
            self._body(control.otherwise, [failure], result)


def _item_of(kind: Type) -> Type:
    if kind.WhichOneof("kind") != "list":
        raise BadDag(f"a map or a race gives a list, found {describe(kind)}")
    return kind.list.item
