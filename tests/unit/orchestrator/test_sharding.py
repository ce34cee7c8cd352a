"""Which slots go where, how databases are written down, and which ids a slot has."""

from collections import Counter
from uuid import UUID

import pytest

from mwfs_chassis.errors import InvalidArgument
from mwfs_orchestrator.model import SLOT_COUNT, slot_of
from mwfs_orchestrator.shard.tables import id_ranges
from mwfs_orchestrator.sharding.databases import check_database, dsn_of, same_place, shown, written
from mwfs_orchestrator.sharding.model import balance_plan, drain_plan, first_map

CATALOGUE = "postgresql://mwfs:secret@127.0.0.1:5432/catalogue"


def after(map_: list[int], plan: dict[int, int]) -> Counter[int]:
    return Counter(plan.get(slot, shard) for slot, shard in enumerate(map_))


def test_the_first_map_is_even():
    assert Counter(first_map(3, SLOT_COUNT)) == {0: 1366, 1: 1365, 2: 1365}


def test_a_drained_shard_keeps_nothing_and_the_others_are_even():
    map_ = first_map(4, SLOT_COUNT)
    assert after(map_, drain_plan(map_, 1, [0, 2, 3], set())) == {0: 1366, 2: 1365, 3: 1365}


def test_those_that_have_less_get_more():
    map_ = [0] * 10 + [1] * 10 + [2] * 2
    assert after(map_, drain_plan(map_, 0, [1, 2], set())) == {1: 11, 2: 11}


def test_slots_that_move_already_are_left_alone():
    map_ = first_map(2, 8)
    assert drain_plan(map_, 0, [1], {0, 1}) == {2: 1, 3: 1}
    assert set(balance_plan(map_, 2, [0, 1], {2, 3, 6, 7})) == {1, 5}


def test_a_new_shard_gets_its_share_from_those_that_have_most():
    map_ = first_map(2, SLOT_COUNT)
    assert sorted(after(map_, balance_plan(map_, 2, [0, 1, 2], set())).values()) == [1365, 1365, 1366]
    uneven = [0] * 6 + [1] * 2
    assert after(uneven, balance_plan(uneven, 2, [0, 1], set())) == {0: 4, 1: 2, 2: 2}


def test_a_database_beside_the_catalogue_is_kept_by_its_name_alone():
    dsn = dsn_of("shard_7", CATALOGUE)
    assert dsn == "postgresql://mwfs:secret@127.0.0.1:5432/shard_7"
    assert written(dsn, CATALOGUE) == "shard_7"
    elsewhere = "postgresql://mwfs:secret@db3:5432/shard_7"
    assert written(elsewhere, CATALOGUE) == elsewhere


def test_nobody_is_shown_a_password():
    assert shown("postgresql://mwfs:se@cret@db3:5432/runs?sslmode=require") == "db3:5432/runs"


def test_the_settings_may_know_a_newer_password():
    newer = "postgresql://mwfs:newer@db3:5432/runs"
    assert same_place([CATALOGUE, newer], "postgresql://mwfs:older@db3:5432/runs", CATALOGUE) == newer


@pytest.mark.parametrize(
    "database", ["", "Shard 7", 'x"; DROP', "mysql://h/x", "postgresql://h", "postgresql://h:notaport/x", "a" * 64]
)
def test_what_names_no_database_is_refused(database: str):
    with pytest.raises(InvalidArgument, match="neither a DSN nor the name"):
        check_database(database)


def test_the_ids_of_a_slot_are_one_range_and_neighbours_share_it():
    first, last = id_ranges([7, 3, 4, 4095])
    assert [(slot_of(a), slot_of(b)) for a, b in zip(first, last, strict=True)] == [(3, 4), (7, 7), (4095, 4095)]
    assert last[-1] == UUID(int=(1 << 128) - 1)
    assert slot_of(UUID(int=first[1].int - 1)) == 6
