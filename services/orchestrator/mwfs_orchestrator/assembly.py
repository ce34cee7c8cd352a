"""Puts submissions together from their parts, within bounds. (pure)"""

from dataclasses import dataclass, field
from typing import Final

from mwfs_api.orchestrator.v1 import orchestrator_pb2
from mwfs_chassis.errors import InvalidArgument, ResourceExhausted, ServiceError

from .compiling import CHUNK_BYTES, MAX_DAG_BYTES

#: Submissions of one stream that have begun and not ended.
MAX_OPEN: Final = 1_000
#: Bytes of Dags that are being put together, over all streams.
MAX_OPEN_BYTES: Final = 1024 * 1024 * 1024


@dataclass(slots=True, kw_only=True)
class Assembly:
    """A submission: its header, and what has come of its Dag."""

    header: orchestrator_pb2.SubmitHeader
    chunks: list[bytes] = field(default_factory=list)
    size: int = 0
    end: orchestrator_pb2.SubmitEnd | None = None

    def parts(self) -> list[orchestrator_pb2.SubmissionPart]:
        """The complete submission as it came, for another replica."""
        return [
            orchestrator_pb2.SubmissionPart(header=self.header),
            *(orchestrator_pb2.SubmissionPart(dag_chunk=chunk) for chunk in self.chunks),
            orchestrator_pb2.SubmissionPart(end=self.end),
        ]


class OpenBytes:
    """How much is held for unfinished submissions, over all streams."""

    def __init__(self) -> None:
        self.held = 0


class Assemblies:
    """The open submissions of one stream."""

    def __init__(self, open_bytes: OpenBytes) -> None:
        self._open_bytes = open_bytes
        self._open: dict[int, Assembly] = {}

    def add(self, part: orchestrator_pb2.SubmissionPart) -> Assembly | ServiceError | None:
        """A submission that is complete now, or the reason why one is refused. Raises ResourceExhausted when the stream has too many open."""
        number = part.submission
        kind = part.WhichOneof("part")
        if kind == "header":
            if len(self._open) >= MAX_OPEN:
                raise ResourceExhausted(
                    f"More than {MAX_OPEN:,} submissions are open on one stream.", "End some before beginning more."
                )
            self._forget(number)
            self._open[number] = Assembly(header=part.header)
            return None
        assembly = self._open.get(number)
        if assembly is None:
            return None  # what is left of a submission that was refused
        if kind == "dag_chunk":
            refusal = self._add_chunk(assembly, part.dag_chunk)
        elif kind == "end":
            assembly.end = part.end
            del self._open[number]
            return assembly
        else:
            refusal = InvalidArgument("A part of the submission is empty.")
        if refusal is not None:
            self._forget(number)
        return refusal

    def _add_chunk(self, assembly: Assembly, chunk: bytes) -> ServiceError | None:
        if len(chunk) > CHUNK_BYTES:
            return InvalidArgument(f"A chunk has {len(chunk):,} bytes; at most {CHUNK_BYTES:,} are allowed.")
        if assembly.size + len(chunk) > MAX_DAG_BYTES:
            return ResourceExhausted(
                f"The Dag has more than {MAX_DAG_BYTES:,} bytes.",
                "Split the workflow, or pass large constants as files.",
            )
        if self._open_bytes.held + len(chunk) > MAX_OPEN_BYTES:
            return ResourceExhausted("The server holds too many unfinished submissions.", "Try again in a moment.")
        assembly.chunks.append(chunk)
        assembly.size += len(chunk)
        self._open_bytes.held += len(chunk)
        return None

    def drop(self, number: int) -> None:
        """A submission that is refused before it is read: what was open under its number is forgotten, and so is what comes of it."""
        self._forget(number)

    def release(self, assembly: Assembly) -> None:
        """A complete submission has been dealt with."""
        self._open_bytes.held -= assembly.size

    def close(self) -> None:
        """The stream has ended; what was open is forgotten."""
        for number in list(self._open):
            self._forget(number)

    def _forget(self, number: int) -> None:
        assembly = self._open.pop(number, None)
        if assembly is not None:
            self.release(assembly)
