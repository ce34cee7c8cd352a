"""Custom resources and labels: counted, chosen by, promised, explained, and refused when they are malformed or too many."""

from __future__ import annotations

from dataclasses import replace

import grpc
import pytest
from unit.scheduler.ledgers import (
    GIB,
    by_group,
    by_host,
    decided,
    demand,
    host,
    ledger_with,
    need,
    quota,
    quotas,
    release_all,
)

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.scheduler.v1 import scheduler_pb2
from mwfs_chassis.errors import InvalidArgument, ResourceExhausted
from mwfs_scheduler.explain import explain_run
from mwfs_scheduler.fair_share.model import Reason
from mwfs_scheduler.ledger import Ledger
from mwfs_scheduler.model import Inventory, Need
from mwfs_scheduler.quotas import BadQuotas, check
from mwfs_scheduler.resources import MAX_CUSTOM_NAMES
from mwfs_scheduler.team_quotas.amounts import listed, parse
from mwfs_scheduler.team_quotas.load import load_of
from mwfs_scheduler.wire import host_list_to, inventory_from, need_from, resources_of


def wants(cpu: float = 1, gpus: int = 0, gpu_type: str = "", *, zone: tuple[str, ...] = (), **custom: int) -> Need:
    labels = (("zone", zone),) if zone else ()
    return need(cpu, 0, gpus, gpu_type)._replace(custom=tuple(sorted(custom.items())), labels=labels)


def offers(name: str = "local", *, labels: dict[str, str] | None = None, gpus: int = 0, **custom: int) -> Inventory:
    plain = host(name, gpus=gpus)
    rows = tuple((key, (value,)) for key, value in sorted((labels or {}).items()))
    return replace(plain, capacity=plain.capacity._replace(custom=tuple(sorted(custom.items())), labels=rows))


def message(ledger: Ledger, group: str = "g") -> tuple[Reason, str]:
    (found,) = [each for each in explain_run(ledger, "run") if each.group.group_id == group]
    return found.reason, found.message


# --- counted ----------------------------------------------------------------------------------------------------------


def test_no_more_nodes_at_once_than_there_are_licenses() -> None:
    ledger = ledger_with(offers(licenses=1))
    demand(ledger, "g", 3, need=wants(licenses=1))
    for _ in range(3):
        assert by_group(decided(ledger).granted) == {"g": 1}
        release_all(ledger, "g")
    assert decided(ledger).granted == []


def test_what_nobody_offers_waits_until_a_host_does() -> None:
    ledger = ledger_with(offers("plain"))
    demand(ledger, "g", 1, need=wants(licenses=2))
    assert decided(ledger).granted == []
    assert message(ledger) == (Reason.NO_SUCH_TYPE, "A node needs 1 core and 2 × licenses, and no host has licenses.")
    ledger.offer(offers("few", licenses=1))
    assert decided(ledger).granted == []
    assert message(ledger) == (
        Reason.NO_NODE_LARGE_ENOUGH,
        "A node needs 1 core and 2 × licenses on one host, and the largest of 2 hosts, few, has 4 cores, 64 GiB and 1 × licenses.",
    )
    ledger.offer(offers("enough", licenses=2))
    assert by_host(decided(ledger).granted) == {"enough": 1}


def test_names_that_only_nodes_ask_for_are_not_counted() -> None:
    ledger = ledger_with(offers())
    width = len(ledger.resources.names)
    for at in range(200):
        demand(ledger, f"g{at}", 1, need=wants(**{f"made_up_{at}": 1}))
    assert len(ledger.resources.names) == width
    assert decided(ledger).granted == []
    demand(ledger, "plain", 1)
    assert by_group(decided(ledger).granted) == {"plain": 1}


def test_two_unknown_names_and_a_known_one() -> None:
    ledger = ledger_with(offers(licenses=4))
    demand(ledger, "g", 1, need=wants(licenses=1, moons=1, suns=1, gpus=1, gpu_type="h100"))
    assert decided(ledger).granted == []
    assert message(ledger)[0] is Reason.NO_SUCH_TYPE


def test_work_without_licenses_goes_elsewhere_first() -> None:
    ledger = ledger_with(offers("a", licenses=1), offers("b"))
    demand(ledger, "g", 4)
    assert by_host(decided(ledger).granted) == {"b": 4}


def test_what_runs_is_counted_also_when_its_name_was_not_known_at_first() -> None:
    ledger = ledger_with()
    ledger.hello("r", [])
    ledger.adopt("r", _held("before", "h", wants(licenses=1)))
    ledger.offer(offers("h", licenses=1))
    demand(ledger, "g", 1, need=wants(licenses=1))
    assert decided(ledger).granted == []
    reason, text = message(ledger)
    assert reason is Reason.WAITING_FOR_CAPACITY
    assert text.startswith("A node needs 1 core and 1 × licenses; 1 host could run it and has 0 × licenses free;")
    ledger.release("r", "before", 1)
    assert by_group(decided(ledger).granted) == {"g": 1}


def _held(grant: str, on: str, has: Need) -> object:
    from mwfs_scheduler.model import Held

    return Held(grant_id=grant, host=on, count=1, need=has, team="ads")


def test_a_host_with_names_beyond_those_that_can_be_counted_is_refused_and_the_others_go_on() -> None:
    ledger = ledger_with(*(offers(f"h{at}", **{f"name{at}.{one}": 1 for one in range(16)}) for at in range(4)))
    assert MAX_CUSTOM_NAMES == 64
    with pytest.raises(
        ResourceExhausted, match=r"64 custom resources can be told apart, and late has further ones: more"
    ):
        ledger.offer(offers("late", more=1))
    assert "late" not in ledger.hosts
    ledger.offer(offers("late", **{"name0.0": 1}))
    demand(ledger, "g", 1, need=wants(**{"name3.15": 1}))
    assert by_host(decided(ledger).granted) == {"h3": 1}


# --- labels -----------------------------------------------------------------------------------------------------------


def test_a_node_goes_to_a_host_with_its_labels() -> None:
    ledger = ledger_with(offers("a", labels={"zone": "a"}), offers("b", labels={"zone": "b"}), offers("c"))
    demand(ledger, "one", 2, need=wants(zone=("b",)))
    demand(ledger, "either", 6, need=wants(zone=("a", "b")))
    granted = decided(ledger).granted
    assert {each.host for each in granted if each.group_id == "one"} == {"b"}
    assert by_host(each for each in granted if each.group_id == "either") == {"a": 4, "b": 2}


def test_no_host_has_the_label() -> None:
    ledger = ledger_with(offers("b", labels={"zone": "b"}), offers("c", labels={"zone": "c"}))
    demand(ledger, "g", 1, need=wants(zone=("a",)))
    assert decided(ledger).granted == []
    assert message(ledger) == (
        Reason.NO_SUCH_TYPE,
        "A node needs 1 core on a host with zone=a, and no host has zone=a: the hosts have zone=b and c.",
    )
    ledger.offer(offers("b", labels={"zone": "a"}))
    assert by_host(decided(ledger).granted) == {"b": 1}


def test_no_host_has_both_labels() -> None:
    ledger = ledger_with(offers("a", labels={"zone": "a"}), offers("b", labels={"zone": "b", "disk": "ssd"}))
    demand(ledger, "g", 1, need=need()._replace(labels=(("disk", ("ssd",)), ("zone", ("a",)))))
    decided(ledger)
    assert message(ledger)[1] == (
        "A node needs 1 core on a host with disk=ssd and zone=a, and no host has disk=ssd and zone=a together."
    )


def test_the_hosts_with_the_label_lack_something() -> None:
    ledger = ledger_with(offers("a", labels={"zone": "a"}), offers("b", licenses=1, gpus=1))
    demand(ledger, "custom", 1, need=wants(zone=("a",), licenses=1))
    demand(ledger, "gpus", 1, need=wants(gpus=1, zone=("a",)))
    demand(ledger, "cores", 1, need=wants(8, zone=("a",)))
    assert decided(ledger).granted == []
    assert message(ledger, "custom")[1].endswith("on a host with zone=a, and no host with zone=a has licenses.")
    assert message(ledger, "gpus")[1].endswith("on a host with zone=a, and no host with zone=a has any.")
    assert message(ledger, "cores") == (
        Reason.NO_NODE_LARGE_ENOUGH,
        "A node needs 8 cores on one host with zone=a, and the only host, a, has 4 cores and 64 GiB.",
    )


def test_the_host_with_the_label_takes_nothing_new() -> None:
    ledger = ledger_with(replace(offers("a", labels={"zone": "a"}), draining=True), offers("b", labels={"zone": "b"}))
    demand(ledger, "a", 1, need=wants(zone=("a",)))
    demand(ledger, "c", 1, need=wants(zone=("c",)))
    decided(ledger)
    assert message(ledger, "a")[1].endswith("zone=a, and the only hosts that could run it take nothing new at present.")
    assert message(ledger, "c")[0] is Reason.NO_SUCH_TYPE


# --- promised ---------------------------------------------------------------------------------------------------------


def test_licenses_can_be_promised_and_limited() -> None:
    given = [quota("ads", guaranteed={"cpu": 2000, "licenses": 2}), quota("ml", burst={"licenses": 1})]
    ledger = ledger_with(offers(licenses=3), given=given)
    demand(ledger, "limited", 3, team="ml", need=wants(licenses=1))
    assert by_group(decided(ledger).granted) == {"limited": 1}
    assert message(ledger, "limited")[1].startswith(
        "A node needs 1 × licenses; ml has 1 × licenses in use of its burst limit, 1 × licenses;"
    )
    ledger.apply(quotas(*given[:1], version=2))
    assert by_group(decided(ledger).granted) == {"limited": 2}
    demand(ledger, "promised", 2, team="ads", need=wants(licenses=1))
    asked = decided(ledger)
    assert [(each.holding.group_id, each.count) for each in asked.notices] == [("limited", 1), ("limited", 1)]
    assert load_of(ledger).capacity == {"cpu": 4000, "memory": 64 * GIB, "licenses": 3}
    assert load_of(ledger).held == {"ml": {"cpu": 3000, "licenses": 3}}


def test_a_guarantee_of_licenses_is_not_one_of_gpus() -> None:
    ledger = ledger_with(offers(licenses=3, gpus=4), given=[quota("ads", guaranteed={"licenses": 2, "gpu:h100": 1})])
    decided(ledger)
    team = ledger.cluster.teams["ads"]
    counted = dict(zip(ledger.resources.names, team.guaranteed, strict=True))
    assert (counted["licenses"], counted["gpu"]) == (2, 1)
    assert ledger.resources.types == [ledger.resources.names.index("gpu:h100")]


def test_amounts_as_people_write_them() -> None:
    assert parse("licenses=2,gpu=none") == {"licenses": 2, "gpu": None}
    assert listed({"licenses": 2, "gpu": 1}) == "gpu 1, licenses 2"
    for text, says in (
        ("licenses=1.5", "licenses comes in whole units"),
        ("licenses=2GiB", "without a unit"),
        ("licenses=-1", "not negative"),
        ("licenses=9999999999", "At most 1,000,000,000"),
        ("mem=4", "Resources are cpu, memory, gpu"),
        ("Licenses=4", "Resources are cpu, memory, gpu"),
    ):
        with pytest.raises(BadQuotas) as caught:
            parse(text)
        assert says in f"{caught.value.message} {caught.value.next_step}"


def test_quotas_name_only_so_many() -> None:
    teams = [quota(f"t{at}", burst={f"name{at}": 1}) for at in range(MAX_CUSTOM_NAMES + 1)]
    check(quotas(*teams[1:]))
    with pytest.raises(BadQuotas, match=r"Quotas can name 64 custom resources in all; found 65"):
        check(quotas(*teams))


# --- sent -------------------------------------------------------------------------------------------------------------


def _sent(
    *custom: tuple[str, int], labels: tuple[tuple[str, tuple[str, ...]], ...] = (), cpu: int = 1000
) -> dag_pb2.Resources:
    return dag_pb2.Resources(
        cpu_millis=cpu,
        custom=[dag_pb2.CustomResource(name=name, amount=amount) for name, amount in custom],
        labels=[dag_pb2.Label(key=key, values=values) for key, values in labels],
    )


def test_what_is_sent_comes_back_the_same() -> None:
    sent = _sent(("fpga", 1), ("licenses", 2), labels=(("disk", ("ssd",)), ("zone", ("a", "b"))))
    assert resources_of(need_from(sent)) == sent


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (_sent(("b", 1), ("a", 1)), "ascending by name"),
        (_sent(("a", 1), ("a", 1)), "ascending by name"),
        (_sent(("a", 0)), "from 1 to"),
        (_sent(("a", 1 << 63)), "from 1 to"),
        (_sent(("memory", 1)), "cannot be the name"),
        (_sent(("gpu:h100", 1)), "cannot be the name"),
        (_sent(("a" * 64, 1)), "cannot be the name"),
        (_sent(*((f"n{at:02}", 1) for at in range(17))), "at most 16 custom"),
        (_sent(labels=(("b", ("x",)), ("a", ("x",)))), "ascending by key"),
        (_sent(labels=(("zone", ()),)), "1 to 16 values"),
        (_sent(labels=(("zone", ("b", "a")),)), "must be ascending"),
        (_sent(labels=(("zone", ("a\n",)),)), "cannot be the key or a value"),
        (_sent(labels=(("", ("a",)),)), "cannot be the key or a value"),
        (_sent(labels=tuple((f"n{at:02}", ("x",)) for at in range(17))), "at most 16 labels"),
    ],
)
def test_what_is_malformed_is_refused(sent: dag_pb2.Resources, says: str) -> None:
    for read in (need_from, lambda bad: inventory_from(_offer(bad))):
        with pytest.raises(InvalidArgument) as caught:
            read(sent)
        assert says in caught.value.message
        assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT


def _offer(capacity: dag_pb2.Resources) -> scheduler_pb2.OfferRequest:
    return scheduler_pb2.OfferRequest(host="h", address="127.0.0.1:1", capacity=capacity)


def test_a_host_has_one_value_of_each_label() -> None:
    with pytest.raises(InvalidArgument, match=r"2 values of label 'zone'"):
        inventory_from(_offer(_sent(labels=(("zone", ("a", "b")),))))


def test_hosts_are_listed_with_what_they_have_and_what_is_in_use() -> None:
    ledger = ledger_with(offers("a", labels={"zone": "a"}, licenses=3), offers("b", fpga=1))
    demand(ledger, "g", 2, need=wants(licenses=1))
    decided(ledger)
    first, second = host_list_to(ledger).hosts
    assert [(one.name, one.amount) for one in first.capacity.custom] == [("licenses", 3)]
    assert [(label.key, list(label.values)) for label in first.capacity.labels] == [("zone", ["a"])]
    assert [(one.name, one.amount) for one in first.in_use.custom] == [("licenses", 2)]
    assert [(one.name, one.amount) for one in second.capacity.custom] == [("fpga", 1)]
    assert not second.in_use.custom
