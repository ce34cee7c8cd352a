"""Dags and patches that are changed at random, and what must hold of one that is believed all the same."""

import random

from mwfs_api.dags.v1 import dag_pb2
from mwfs_types.dag_functions import arity_of

CONSTANT, OUTPUT, LIST, MAP, RECORD, FIELD, PARAMETER, APPLY, TYPED = range(1, 10)


def assert_in_range(dag: dag_pb2.Dag) -> None:
    """What the orchestrator relies on, spelled out the slow way."""
    nodes, items = len(dag.node_operator), len(dag.items.kind)
    assert len(dag.node_location) == nodes
    assert all(len(column) == items for column in (dag.items.a, dag.items.b))
    assert all(row < len(dag.operators) for row in dag.node_operator)
    assert all(row < len(dag.location_file) for row in dag.node_location)
    assert all(row < len(dag.files) for row in dag.location_file)
    for operator in dag.operators:
        assert all(row.type < len(dag.types) for row in [*operator.parameters, *operator.outputs])

    def needs(bindings: dag_pb2.Bindings, row: int, below: int) -> int:
        """The last node that a binding needs; recursion ends because items lead to lower rows only."""
        kind, a, b = bindings.kind[row], bindings.a[row], bindings.b[row]
        if kind == CONSTANT:
            assert a < len(dag.constants)
            return -1
        if kind == PARAMETER:
            assert a < len(dag.inputs)
            return -1
        if kind == OUTPUT:
            assert a < nodes
            assert b < len(dag.operators[dag.node_operator[a]].outputs)
            return a
        if kind in (FIELD, TYPED):
            assert kind == FIELD or b < len(dag.types)
            assert a < below
            return needs(dag.items, a, a)
        if kind == APPLY:
            assert a + arity_of(b) <= below
            return max(needs(dag.items, item, item) for item in range(a, a + arity_of(b)))
        assert kind in (LIST, MAP, RECORD)
        assert a + b <= below
        assert kind != MAP or b % 2 == 0
        return max((needs(dag.items, item, item) for item in range(a, a + b)), default=-1)

    for row in range(items):
        needs(dag.items, row, row)
    row = 0
    for node, index in enumerate(dag.node_operator):
        for _ in dag.operators[index].parameters:
            assert needs(dag.arguments, row, items) < node
            row += 1
    assert row == len(dag.arguments.kind) == len(dag.arguments.a) == len(dag.arguments.b)
    for output in dag.outputs:
        assert output.item < items
        assert output.type < len(dag.types)
    for given in dag.inputs:
        assert given.type < len(dag.types)
        assert given.constant < len(dag.constants)


COLUMNS = ["node_operator", "node_location", "location_file", "location_line"]
NUMBERS = [0, 1, 2, 3, 4, 5, 6, 7, 100, 2**31, 2**32 - 1]


def columns_of(dag: dag_pb2.Dag | dag_pb2.Body) -> "list":  # type: ignore[type-arg]
    found = [getattr(dag, name) for name in COLUMNS if name in dag.DESCRIPTOR.fields_by_name]
    return found + [getattr(rows, name) for rows in (dag.arguments, dag.items) for name in ("kind", "a", "b")]


def mutate(dag: dag_pb2.Dag | dag_pb2.Body, chance: random.Random) -> None:
    """One random change anywhere in the message."""
    if chance.random() < 0.6:
        column = chance.choice(columns_of(dag))
        number = chance.choice(NUMBERS)
        if column is dag.arguments.kind or column is dag.items.kind:
            number = chance.randrange(11)
        action = chance.randrange(6)
        if action == 0:
            column.append(number)
        elif column and action == 1:
            del column[chance.randrange(len(column))]
        elif column:
            column[chance.randrange(len(column))] = number
        return
    mutate_message(dag, chance)


def mutate_message(message: object, chance: random.Random) -> None:
    """One random change of a scalar, or of the presence of a part, at a random depth."""
    descriptor = message.DESCRIPTOR  # type: ignore[attr-defined]
    field = chance.choice(descriptor.fields)
    if field.message_type is not None:
        if field.is_repeated:
            rows = getattr(message, field.name)
            if rows and chance.random() < 0.8:
                mutate_message(chance.choice(rows), chance)
            elif rows and chance.random() < 0.5:
                del rows[chance.randrange(len(rows))]
            else:
                rows.add()
        elif message.HasField(field.name) and chance.random() < 0.9:  # type: ignore[attr-defined]
            mutate_message(getattr(message, field.name), chance)
        else:
            getattr(message, field.name).SetInParent()
        return
    value = random_scalar(field, chance)
    if not field.is_repeated:
        setattr(message, field.name, value)
        return
    rows = getattr(message, field.name)
    if rows and chance.random() < 0.7:
        rows[chance.randrange(len(rows))] = value
    else:
        rows.append(value)


def random_scalar(field: object, chance: random.Random) -> object:
    kind = field.cpp_type  # type: ignore[attr-defined]
    if kind == field.CPPTYPE_STRING:  # type: ignore[attr-defined]
        if field.type == field.TYPE_BYTES:  # type: ignore[attr-defined]
            return chance.randbytes(3)
        return chance.choice(["", "a", "a\0b", "x" * 2000, "n", "result", "(a+)+$", "sha256:0"])
    if kind in (field.CPPTYPE_DOUBLE, field.CPPTYPE_FLOAT):  # type: ignore[attr-defined]
        return chance.choice([0.0, -1.0, 1e300, float("nan"), float("inf"), 0.5])
    if kind == field.CPPTYPE_BOOL:  # type: ignore[attr-defined]
        return chance.random() < 0.5
    if kind == field.CPPTYPE_ENUM:  # type: ignore[attr-defined]
        return chance.randrange(12)
    return chance.choice([0, 1, 2, 3, 5, 100, 2**31 - 1])
