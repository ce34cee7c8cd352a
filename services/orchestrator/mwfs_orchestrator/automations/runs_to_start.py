"""From a template and an occasion to a submission: every input is there once, and of its type. (pure)"""

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from mwfs_api.orchestrator.v1 import automations_pb2 as pb
from mwfs_api.orchestrator.v1 import orchestrator_pb2
from mwfs_chassis.errors import InvalidArgument
from mwfs_orchestrator.model import run_id_of
from mwfs_orchestrator.names import check_digest, check_tags, check_workflow
from mwfs_types.checking import check
from mwfs_types.errors import BadValue
from mwfs_types.limits import MAX_PRIORITY

from .facts import Facts
from .model import Automation, Occasion, request_id_of

#: Tags that begin so are the platform's own.
OWN_TAGS: Final = "mwfs."
_MAX_TAGS: Final = 24
_MAX_SHIFT: Final = 10_000
#: Of a submission's header. A join of very many partitions may need more than a run can be submitted with.
MAX_HEADER_BYTES: Final = 4 * 1024 * 1024


def check_template(template: pb.RunTemplate) -> None:
    """What can be said before the workflow's version is known. Raises InvalidArgument."""
    check_workflow(template.workflow)
    if template.version_digest:
        check_digest(template.version_digest, "version digest")
    check_tags(template.tags)
    if len(template.tags) > _MAX_TAGS:
        raise InvalidArgument(f"There are {len(template.tags)} tags; at most {_MAX_TAGS} are allowed here.")
    own = [name for name in template.tags if name.startswith(OWN_TAGS)]
    if own:
        raise InvalidArgument(f"The tag {own[0]!r} is the platform's own.", "Choose a name without `mwfs.`.")
    if abs(template.priority) > MAX_PRIORITY:
        raise InvalidArgument(f"The priority {template.priority} is not within ±{MAX_PRIORITY:,}.")
    if template.ByteSize() > MAX_HEADER_BYTES:
        raise InvalidArgument(
            f"The inputs have {template.ByteSize():,} bytes; at most {MAX_HEADER_BYTES:,} are allowed.",
            "Pass large values as files.",
        )
    filled: set[str] = set()
    for fill in template.fills:
        if fill.input in filled or fill.input in template.inputs:
            raise InvalidArgument(f"Input `{fill.input[:80]}` is given twice.", "Give it once.")
        filled.add(fill.input)
        if abs(fill.shift) > _MAX_SHIFT:
            raise InvalidArgument(f"Input `{fill.input[:80]}` is shifted by {fill.shift}; at most {_MAX_SHIFT:,}.")


def header_of(
    template: pb.RunTemplate,
    version: orchestrator_pb2.WorkflowVersion,
    facts: Facts,
    *,
    request_id: str,
    tags: Mapping[str, str],
) -> orchestrator_pb2.SubmitHeader:
    """The submission of an occasion's run. Raises InvalidArgument when it does not fit the version's inputs.

    Facts that know only types give a header without those values: enough to see that they would fit.
    """
    header = orchestrator_pb2.SubmitHeader(
        request_id=request_id,
        workflow=template.workflow,
        version_digest=version.digest,
        compile=True,
        priority=template.priority,
        tags={**template.tags, **tags},
    )
    inputs = {each.name: each for each in version.inputs}
    fills = {fill.input: fill for fill in template.fills}
    for name in [*template.inputs, *fills]:
        if name not in inputs:
            raise InvalidArgument(
                f"The workflow {template.workflow} has no input `{name[:80]}`; it has {', '.join(inputs) or 'none'}."
            )
    for name, each in inputs.items():
        fill = fills.get(name)
        if fill is not None:
            value = facts.value(fill, each.type)
            if value is None:
                continue
            if source := facts.source(fill):
                header.input_sources[name] = source
        elif name in template.inputs:
            value = template.inputs[name]
        elif each.HasField("default"):
            continue
        else:
            raise InvalidArgument(
                f"The workflow {template.workflow} needs the input `{name}`.", "Give it a value, or fill it."
            )
        try:
            check(value, each.type)
        except BadValue as error:
            raise InvalidArgument(
                f"Input `{name}{error.path}`: expected {error.expected}, found {error.found}.", error.fix
            ) from None
        header.inputs[name].CopyFrom(value)
    if header.ByteSize() > MAX_HEADER_BYTES:
        raise InvalidArgument(
            f"The run's inputs have {header.ByteSize():,} bytes; at most {MAX_HEADER_BYTES:,} are allowed.",
            "Join fewer partitions, or outputs that are files.",
        )
    return header


def occasion_of(
    automation: Automation,
    occasion: str,
    number: int,
    template: pb.RunTemplate,
    version: orchestrator_pb2.WorkflowVersion | None,
    facts: Facts,
    *,
    turn: int = 1,
    depth: int = 0,
    root: UUID | None = None,
) -> Occasion:
    """The command that starts the run; or, when there can be none, why."""
    request_id = request_id_of(automation.automation_id, occasion, turn)
    header: orchestrator_pb2.SubmitHeader | None = None
    message = ""
    if version is None:
        message = f"The workflow {template.workflow} has no version {template.version_digest}".rstrip() + "."
    else:
        try:
            tags = own_tags(automation, occasion)
            header = header_of(template, version, facts, request_id=request_id, tags=tags)
        except InvalidArgument as error:
            message = str(error)
    return Occasion(
        automation_id=automation.automation_id,
        occasion=occasion,
        number=number,
        state=pb.OCCASION_STATE_REFUSED if header is None else pb.OCCASION_STATE_DUE,
        turn=turn,
        run_id=None if header is None else run_id_of(automation.team, request_id),
        header=None if header is None else header.SerializeToString(deterministic=True),
        message=message,
        depth=depth,
        root=root,
    )


def own_tags(automation: Automation, occasion: str) -> dict[str, str]:
    """What the runs of an automation are found by."""
    kind = pb.AutomationKind.Name(automation.kind).removeprefix("AUTOMATION_KIND_").lower()  # type: ignore[arg-type]
    return {f"{OWN_TAGS}{kind}": automation.name, f"{OWN_TAGS}occasion": occasion or "join"}
