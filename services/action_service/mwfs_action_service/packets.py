"""What a worker is sent to begin an attempt."""

from pathlib import Path

from mwfs_action_service.model import Attempt
from mwfs_action_service.worker_process import MAX_PACKET
from mwfs_api.action.v1 import action_pb2, worker_pb2


def packet_of(attempt: Attempt, launch: action_pb2.Launch, spool: Path) -> bytes:
    """The packet; of a large one, which is a file in `spool` then, where that is."""
    own = worker_pb2.WorkerLaunch(ticket=attempt.ticket, arguments=launch.arguments, key=launch.key)
    if launch.HasField("resume_from"):
        own.resume_from.CopyFrom(launch.resume_from)
    if launch.HasField("compile"):
        own.compile.CopyFrom(launch.compile)
    if launch.pending:
        own.pending.extend(launch.pending)
    packet = attempt.entry.packet_prefix + own.SerializeToString()
    if len(packet) > MAX_PACKET:
        path = spool / f"{attempt.ticket}.launch"
        path.write_bytes(packet)
        attempt.spool = str(path)
        packet = worker_pb2.WorkerLaunch(ticket=attempt.ticket, file=attempt.spool).SerializeToString()
    return packet
