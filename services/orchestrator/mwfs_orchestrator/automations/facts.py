"""What an occasion knows, as values for the inputs of the run that it starts. (pure)"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Final, Protocol
from uuid import UUID

from mwfs_api.events.v1 import events_pb2
from mwfs_api.orchestrator.v1 import automations_pb2 as pb
from mwfs_api.types.v1 import types_pb2
from mwfs_chassis.errors import InvalidArgument
from mwfs_types.assignability import explain_mismatch
from mwfs_types.partitions import DatePartition, Grain
from mwfs_types.rendering import describe

_GRAINS: Final = {
    pb.GRAIN_HOUR: Grain.HOUR,
    pb.GRAIN_DAY: Grain.DAY,
    pb.GRAIN_WEEK: Grain.WEEK,
    pb.GRAIN_MONTH: Grain.MONTH,
}
#: An output: its type, its value, and where it comes from as "run:ID/OUTPUT". Without a value only the type is known.
Output = tuple[types_pb2.Type, types_pb2.Value | None, str]


class Facts(Protocol):
    """What an occasion knows. Raises InvalidArgument when it does not know what is asked, or it does not fit the input's type."""

    def value(self, fill: pb.Fill, wanted: types_pb2.Type) -> types_pb2.Value | None:
        """None: the type fits, the value is not known yet."""
        ...

    def source(self, fill: pb.Fill) -> str:
        """ "run:ID/OUTPUT" for an input that is the output of a run, else empty."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MomentFacts:
    """Of an occasion of a schedule."""

    moment_us: int
    zone: tzinfo

    def value(self, fill: pb.Fill, wanted: types_pb2.Type) -> types_pb2.Value | None:
        if fill.source != pb.FILL_SOURCE_TIME:
            raise _not_known(fill, "a schedule knows only the time")
        moment = datetime.fromtimestamp(self.moment_us // 1_000_000, UTC)
        kind = _plain(wanted)
        is_date = kind.HasField("semantic") and kind.semantic.name in ("Date", "DatePartition")
        grain = _GRAINS.get(fill.grain, Grain.DAY if is_date else None)
        if grain is None:
            if fill.shift:
                raise InvalidArgument(
                    f"Input `{fill.input}` is shifted by {fill.shift}, but of what is not said.", "Name a grain: day-1."
                )
            return types_pb2.Value(text=moment.isoformat().replace("+00:00", "Z"))
        partition = DatePartition.at(moment if grain is Grain.HOUR else moment.astimezone(self.zone).date(), grain)
        for _ in range(abs(fill.shift)):
            partition = partition.next() if fill.shift > 0 else partition.previous()
        if kind.HasField("semantic") and kind.semantic.name == "Timestamp":
            return types_pb2.Value(text=partition.start.isoformat().replace("+00:00", "Z"))
        if kind.HasField("semantic") and kind.semantic.name == "Date":
            return types_pb2.Value(text=partition.day.isoformat())
        return types_pb2.Value(text=str(partition))

    def source(self, fill: pb.Fill) -> str:
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndFacts:
    """Of a run that ended; with `outputs` of None they are not known, and any output is taken to fit."""

    run_id: UUID
    state: int
    outputs: Mapping[str, Output] | None

    def value(self, fill: pb.Fill, wanted: types_pb2.Type) -> types_pb2.Value | None:
        match fill.source:
            case pb.FILL_SOURCE_RUN:
                return types_pb2.Value(text=str(self.run_id))
            case pb.FILL_SOURCE_STATE:
                return text_value(state_name(self.state), wanted)
            case pb.FILL_SOURCE_OUTPUT:
                if self.outputs is None:
                    return None
                type_, value, _ = _named(self.outputs, fill)
                _check_fits(fill, type_, wanted)
                return value
        raise _not_known(fill, "a trigger knows the run that ended, its state and its outputs")

    def source(self, fill: pb.Fill) -> str:
        if fill.source != pb.FILL_SOURCE_OUTPUT or self.outputs is None:
            return ""
        return _named(self.outputs, fill)[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionFacts:
    """Of a partition of a backfill."""

    partition: str

    def value(self, fill: pb.Fill, wanted: types_pb2.Type) -> types_pb2.Value | None:
        if fill.source != pb.FILL_SOURCE_PARTITION:
            raise _not_known(fill, "a backfill knows only the partition")
        return text_value(self.partition, wanted)

    def source(self, fill: pb.Fill) -> str:
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinFacts:
    """Of a backfill all of whose partitions have succeeded, in their order; with `outputs` of None they are not known."""

    partitions: Sequence[str]
    run_ids: Sequence[UUID]
    outputs: Sequence[Mapping[str, Output]] | None = None

    def value(self, fill: pb.Fill, wanted: types_pb2.Type) -> types_pb2.Value | None:
        item = _plain(wanted).list.item
        match fill.source:
            case pb.FILL_SOURCE_RUN:
                values = [types_pb2.Value(text=str(run_id)) for run_id in self.run_ids]
            case pb.FILL_SOURCE_PARTITION:
                values = [text_value(partition, item) for partition in self.partitions]
            case pb.FILL_SOURCE_OUTPUT:
                if self.outputs is None:
                    return None
                values = []
                for outputs in self.outputs:
                    type_, value, _ = _named(outputs, fill)
                    _check_fits(fill, types_pb2.Type(list=types_pb2.ListType(item=type_)), wanted)
                    if value is None:
                        return None
                    values.append(value)
            case _:
                raise _not_known(fill, "a join knows the partitions, their runs and their outputs")
        return types_pb2.Value(list=types_pb2.ListValue(items=values))

    def source(self, fill: pb.Fill) -> str:
        return ""


def state_name(state: int) -> str:
    return events_pb2.RunState.Name(state).removeprefix("RUN_STATE_")  # type: ignore[arg-type]


def text_value(text: str, wanted: types_pb2.Type) -> types_pb2.Value:
    """A partition or state as a value of this type, where text can stand for one; else as text, and the check of the type says what is wrong."""
    kind = _plain(wanted)
    convert: Callable[[str], types_pb2.Value]
    match kind.WhichOneof("kind"):
        case "enum":
            return types_pb2.Value(member=text)
        case "scalar" if kind.scalar == types_pb2.SCALAR_KIND_INT:
            convert = _integer
        case "scalar" if kind.scalar == types_pb2.SCALAR_KIND_FLOAT:
            convert = _number
        case "semantic" if kind.semantic.name == "Timestamp":
            convert = _start
        case _:
            return types_pb2.Value(text=text)
    try:
        return convert(text)
    except (ValueError, OverflowError):
        return types_pb2.Value(text=text)


def _integer(text: str) -> types_pb2.Value:
    return types_pb2.Value(integer=int(text))


def _number(text: str) -> types_pb2.Value:
    return types_pb2.Value(number=float(text))


def _start(text: str) -> types_pb2.Value:
    return types_pb2.Value(text=DatePartition.parse(text).start.isoformat().replace("+00:00", "Z"))


def _plain(type_: types_pb2.Type) -> types_pb2.Type:
    while type_.HasField("optional"):
        type_ = type_.optional.item
    return type_


def _named(outputs: Mapping[str, Output], fill: pb.Fill) -> Output:
    if fill.output not in outputs:
        raise InvalidArgument(
            f"Input `{fill.input}` is to be the output {fill.output[:80]!r}, but the outputs are {', '.join(outputs) or 'none'}.",
            "Name one of them.",
        )
    return outputs[fill.output]


def _check_fits(fill: pb.Fill, have: types_pb2.Type, wanted: types_pb2.Type) -> None:
    mismatch = explain_mismatch(have, wanted)
    if mismatch is not None:
        raise InvalidArgument(
            f"Input `{fill.input}` is {describe(wanted)}, but is to be {describe(have)}: {mismatch}.",
            "Take another output, or change the input's type.",
        )


def _not_known(fill: pb.Fill, why: str) -> InvalidArgument:
    try:
        name = pb.FillSource.Name(fill.source).removeprefix("FILL_SOURCE_").lower()
    except ValueError:
        name = str(fill.source)
    return InvalidArgument(f"Input `{fill.input[:80]}` cannot be filled with {name}: {why}.")
