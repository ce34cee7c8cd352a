"""Submissions are put together within bounds; one that breaks them is refused, and its neighbours are not."""

import pytest

from mwfs_api.orchestrator.v1 import orchestrator_pb2 as pb
from mwfs_chassis.errors import InvalidArgument, ResourceExhausted
from mwfs_orchestrator import assembly
from mwfs_orchestrator.assembly import Assemblies, Assembly, OpenBytes
from mwfs_orchestrator.compiling import CHUNK_BYTES


def header(number: int) -> pb.SubmissionPart:
    return pb.SubmissionPart(submission=number, header=pb.SubmitHeader(request_id=str(number)))


def chunk(number: int, data: bytes) -> pb.SubmissionPart:
    return pb.SubmissionPart(submission=number, dag_chunk=data)


def end(number: int) -> pb.SubmissionPart:
    return pb.SubmissionPart(submission=number, end=pb.SubmitEnd())


def test_parts_of_several_submissions_may_be_mixed() -> None:
    held = OpenBytes()
    open_ones = Assemblies(held)
    for part in (header(1), header(2), chunk(1, b"a"), chunk(2, b"x"), chunk(1, b"b")):
        assert open_ones.add(part) is None
    done = open_ones.add(end(1))
    assert isinstance(done, Assembly)
    assert done.chunks == [b"a", b"b"]
    assert held.held == 3
    open_ones.release(done)
    open_ones.close()
    assert held.held == 0


def test_a_chunk_that_is_too_large_refuses_its_submission_and_what_is_left_of_it_is_ignored() -> None:
    held = OpenBytes()
    open_ones = Assemblies(held)
    open_ones.add(header(1))
    assert isinstance(open_ones.add(chunk(1, bytes(CHUNK_BYTES + 1))), InvalidArgument)
    assert open_ones.add(chunk(1, b"more")) is None
    assert open_ones.add(end(1)) is None
    assert held.held == 0


def test_a_dag_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly, "MAX_DAG_BYTES", 10)
    held = OpenBytes()
    open_ones = Assemblies(held)
    open_ones.add(header(1))
    assert open_ones.add(chunk(1, bytes(8))) is None
    refused = open_ones.add(chunk(1, bytes(8)))
    assert isinstance(refused, ResourceExhausted)
    assert "Split the workflow" in str(refused)
    assert held.held == 0


def test_all_streams_together_hold_a_bounded_amount(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly, "MAX_OPEN_BYTES", 10)
    held = OpenBytes()
    one, other = Assemblies(held), Assemblies(held)
    one.add(header(1))
    other.add(header(1))
    assert one.add(chunk(1, bytes(8))) is None
    assert isinstance(other.add(chunk(1, bytes(8))), ResourceExhausted)
    one.close()
    assert held.held == 0


def test_a_stream_with_too_many_open_submissions_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly, "MAX_OPEN", 2)
    open_ones = Assemblies(OpenBytes())
    open_ones.add(header(1))
    open_ones.add(header(2))
    with pytest.raises(ResourceExhausted, match="are open on one stream"):
        open_ones.add(header(3))


def test_an_empty_part_is_refused() -> None:
    open_ones = Assemblies(OpenBytes())
    open_ones.add(header(1))
    assert isinstance(open_ones.add(pb.SubmissionPart(submission=1)), InvalidArgument)
