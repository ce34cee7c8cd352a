"""Protos to the scheduler's model and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.scheduler.v1 import scheduler_pb2
from mwfs_chassis.errors import InvalidArgument
from mwfs_scheduler.explain import Explanation
from mwfs_scheduler.ledger import Ledger
from mwfs_scheduler.model import Held, Holding, Inventory, KnownHost, Need, NewGroup, Notice
from mwfs_scheduler.resources import CPU, GPU, MEMORY
from mwfs_types.resource_names import custom_rows, label_rows, problem_with

#: By the orchestrator's monotonic clock, from receipt.
GRANT_VALID_MS = 30_000
#: Nothing is expected to take longer than a year.
MAX_EXPECTED_S = 366 * 24 * 3600


def need_from(resources: dag_pb2.Resources) -> Need:
    """What a node asks for. One thousandth of a core is the least. Raises InvalidArgument when it is malformed."""
    return _need(resources)._replace(cpu_millis=max(1, resources.cpu_millis))


def capacity_from(resources: dag_pb2.Resources) -> Need:
    """What a host has. Raises InvalidArgument when it is malformed."""
    capacity = _need(resources)
    for key, values in capacity.labels:
        if len(values) > 1:
            raise InvalidArgument(
                f"A host has {len(values)} values of label {key!r}.", "Offer one value of each label."
            )
    return capacity


def _need(resources: dag_pb2.Resources) -> Need:
    gpus = resources.gpus
    gpu_type = resources.gpu_type if gpus else ""
    if not (resources.custom or resources.labels):
        return Need(resources.cpu_millis, resources.memory_bytes, gpus, gpu_type)
    problem = problem_with(resources)
    if problem is not None:
        raise InvalidArgument(f"Malformed resources: {problem}.", "Send them as they stand in a checked Dag.")
    custom = tuple((one.name, one.amount) for one in resources.custom)
    labels = tuple((label.key, tuple(label.values)) for label in resources.labels)
    return Need(resources.cpu_millis, resources.memory_bytes, gpus, gpu_type, custom, labels)


def resources_of(need: Need) -> dag_pb2.Resources:
    return dag_pb2.Resources(
        cpu_millis=need.cpu_millis,
        memory_bytes=need.memory_bytes,
        gpus=need.gpus,
        gpu_type=need.gpu_type,
        custom=custom_rows(dict(need.custom)),
        labels=label_rows(dict(need.labels)),
    )


def new_group_from(demand: scheduler_pb2.Demand) -> NewGroup:
    """A group seen for the first time. Raises InvalidArgument when it is malformed."""
    for name in ("group_id", "team", "run_id"):
        if not getattr(demand, name):
            raise InvalidArgument(
                f"The demand for group {demand.group_id!r} has no {name}.",
                "Describe a group in full when it is first demanded, or again after it was withdrawn.",
            )
    return NewGroup(
        group_id=demand.group_id,
        team=demand.team,
        run_id=demand.run_id,
        need=need_from(demand.resources),
        priority=demand.priority,
        rank_band=demand.rank_band,
        submit_time_us=demand.submit_time_us,
        preemptible=not demand.not_preemptible,
        preemptions=demand.preemptions,
        expected_s=expected_from(demand.expected_s, demand.group_id),
    )


def expected_from(seconds: int, whose: str) -> int | None:
    """For how long room will probably be taken; None when that is not known. Raises InvalidArgument when it is absurd."""
    if seconds > MAX_EXPECTED_S:
        raise InvalidArgument(
            f"{whose!r} is expected to take {seconds:,} s; at most {MAX_EXPECTED_S:,} s can be expected.",
            "Leave out what is not known.",
        )
    return seconds or None


def held_from(grants: Iterable[scheduler_pb2.HeldGrant]) -> list[Held]:
    """What a replica holds. Raises InvalidArgument when a grant is malformed."""
    grants = list(grants)
    for one in grants:
        if not (one.grant_id and one.host and one.team):
            raise InvalidArgument(
                f"The held grant {one.grant_id!r} has no id, host or team.", "Send held grants as they were granted."
            )
    return [
        Held(
            grant_id=one.grant_id,
            host=one.host,
            count=one.count,
            need=need_from(one.resources),
            team=one.team,
            priority=one.priority,
            preemptible=not one.not_preemptible,
            preemptions=one.preemptions,
            age_s=one.age_s,
            leaving_s=-(-one.leaving_ms // 1000) if one.HasField("leaving_ms") else None,
            expected_s=expected_from(one.expected_s, one.grant_id),
        )
        for one in grants
    ]


def inventory_from(offer: scheduler_pb2.OfferRequest) -> Inventory:
    """What a host offers. Raises InvalidArgument when it does not say which host, where, or what it has is malformed."""
    if not (offer.host and offer.address and offer.HasField("capacity")):
        raise InvalidArgument(
            f"An offer needs a host, an address and a capacity; found host {offer.host!r}, address {offer.address!r}.",
            "Send a complete inventory as the first message and after each change.",
        )
    capacity = capacity_from(offer.capacity)
    return Inventory(host=offer.host, address=offer.address, capacity=capacity, draining=offer.draining)


def grant_to(holding: Holding, epoch: int) -> scheduler_pb2.Grant:
    return scheduler_pb2.Grant(
        grant_id=holding.grant_id,
        group_id=holding.group_id,
        count=holding.count,
        host=holding.host,
        epoch=epoch,
        valid_ms=GRANT_VALID_MS,
    )


def hosts_to(hosts: Iterable[KnownHost], names: Sequence[str]) -> list[scheduler_pb2.Host]:
    """The connected hosts, by name."""
    return [
        scheduler_pb2.Host(
            host=known.inventory.host,
            address=known.inventory.address,
            capacity=resources_of(known.inventory.capacity),
            in_use=resources_of(_used(known, known.inventory.capacity, names)),
        )
        for known in sorted(hosts, key=lambda known: known.host.id)
        if known.inventory is not None
    ]


def _used(known: KnownHost, has: Need, names: Sequence[str]) -> Need:
    """What runs there; room that is kept for somebody is not in use."""
    used = [0] * len(known.host.capacity)
    for grant, members in known.host.grants.items():
        for resource, amount in grant.request.shape.needs:
            used[resource] += amount * members
    offered = {name for name, _ in has.custom}
    custom = tuple(sorted((names[at], amount) for at, amount in enumerate(used) if amount and names[at] in offered))
    return Need(used[CPU], used[MEMORY], used[GPU], has.gpu_type, custom)


def notice_to(notice: Notice) -> scheduler_pb2.Revocation:
    return scheduler_pb2.Revocation(
        grant_id=notice.holding.grant_id,
        count=notice.count,
        grace_ms=notice.grace_s * 1000,
        reason=f"Room is needed for work of {notice.beneficiary.about.team}, which was promised it or comes first.",
    )


def host_list_to(ledger: Ledger) -> scheduler_pb2.HostList:
    return scheduler_pb2.HostList(hosts=hosts_to(ledger.hosts.values(), ledger.resources.names))


def waiting_to(explanation: Explanation) -> scheduler_pb2.WaitingGroup:
    group = explanation.group
    return scheduler_pb2.WaitingGroup(
        group_id=group.group_id,
        waiting=group.waiting,
        resources=resources_of(group.about.need),
        reason=scheduler_pb2.WaitingReason.Value(f"WAITING_REASON_{explanation.reason.name}"),
        message=explanation.message,
        permanent=explanation.permanent,
        starts_in_s=explanation.starts_in_s,
        at_the_latest=explanation.at_the_latest,
        estimate=explanation.estimate,
        team=group.about.team,
        priority=group.about.priority,
    )
