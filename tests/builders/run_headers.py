"""What is known of a run from its submission."""

from uuid import UUID

from mwfs_orchestrator.model import RunHeader


def run_header(
    *,
    run_id: UUID | None = None,
    team: str = "team",
    workflow: str = "w:w",
    request_id: str = "1",
    body_digest: bytes = b"",
) -> RunHeader:
    """Of an ordinary run."""
    return RunHeader(
        run_id=run_id or UUID(int=1),
        team=team,
        principal="someone",
        request_id=request_id,
        body_digest=body_digest,
        workflow=workflow,
        version_digest="",
        bundle_digest="",
        priority=0,
        tags={},
        compile_job=None,
        create_us=1,
    )
