"""The trace files are read whole, and what is wrong in a file is an error that names the place."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from mwfs_scheduler.simulator import helios
from mwfs_scheduler.simulator.model import PARTS, BadTrace
from mwfs_scheduler.simulator.traces import NODES, SHIPPED, Size, Window, load, split

HEADER = "job_id,submit_time,duration,gpus,gpu_milli,cpus,mem_gib,team,user,gpu_type,priority_class\n"


def file(tmp_path: Path, *rows: str, header: str = HEADER) -> str:
    path = tmp_path / "jobs.csv"
    path.write_text(header + "".join(row + "\n" for row in rows))
    return str(path)


def test_philly():
    found = load("philly", Size(), Window(), seed=1)
    assert (len(found.jobs), len(found.teams), len(found.machines)) == (82_247, 15, 80)
    hours = sum(job.total[0] * job.duration for job in found.jobs) / PARTS / 3600
    assert round(hours) == 978_078
    widest = max(found.jobs, key=lambda job: job.total)
    assert (widest.members, widest.amounts) == (16, (8 * PARTS,))


@pytest.mark.parametrize(("trace", "typed"), [("openb", False), ("openb-gpuspec33", True)])
def test_openb(trace: str, typed: bool):
    found = load(trace, Size(), Window(), seed=1)
    assert (len(found.jobs), len(found.teams), len(found.machines)) == (8152, 8, 1523)
    assert found.pools[found.gpu] == 6212 * PARTS
    assert any(0 < job.amounts[1] < PARTS for job in found.jobs)
    assert any(len(values) > 1 for job in found.jobs for _, values in job.selector) is typed
    types = {machine.labels["gpu_type"] for machine in found.machines if machine.labels}
    assert len(types) == 7
    assert {value for job in found.jobs for _, values in job.selector for value in values} <= types


def test_helios():
    view = helios.usage_view()
    assert (len(view["teams"]), view["hours"]) == (16, 744)
    assert 0 < view["utilisation_of_quota"] < 1.5
    assert all(0 <= each["hours_waiting_under_quota"] <= each["hours_waiting"] <= 1 for each in view["teams"].values())


def test_the_files_are_small_and_come_with_their_licences():
    folder = files("mwfs_scheduler.simulator") / "traces"
    names = {each.name for each in folder.iterdir()}
    assert names >= {*SHIPPED.values(), NODES, "README.md", "LICENSE-Apache-2.0.txt"}
    assert sum(len(each.read_bytes()) for each in folder.iterdir() if each.is_file()) < 1_000_000
    attribution = (folder / "README.md").read_text()
    assert all(word in attribution for word in ("CC BY 4.0", "Apache-2.0", "MIT", "Changes", *SHIPPED.values(), NODES))


@pytest.mark.parametrize(
    ("gpus", "members"),
    [(0.5, (1, 500)), (8, (1, 8000)), (12, (2, 6000)), (24, (3, 8000)), (13, (13, 1000)), (128, (16, 8000))],
)
def test_a_wide_job_becomes_the_fewest_equal_members_that_fit_a_host(gpus: float, members: tuple[int, int]):
    assert split(int(gpus * 1000), 8000) == members


def test_a_window_starts_the_clock_anew_and_seeds_move_it(tmp_path: Path):
    trace = file(tmp_path, *(f"j{hour:03},{hour * 3600},60,1,,,,x,,," for hour in range(240)))
    window = Window(from_days=4, days=1)
    first = load(trace, Size(), window, seed=1)
    assert [(job.id, job.submit) for job in first.jobs] == [(f"j{at + 96:03}", at * 3600) for at in range(24)]
    assert load(trace, Size(), window, seed=2).jobs == first.jobs
    moved = Window(from_days=4, days=1, jitter_days=3)
    assert load(trace, Size(), moved, seed=1).jobs != load(trace, Size(), moved, seed=2).jobs
    assert load(trace, Size(), moved, seed=1).jobs == load(trace, Size(), moved, seed=1).jobs
    assert len(load(trace, Size(), Window(limit=5), seed=1).jobs) == 5


def test_what_would_still_run_when_the_window_begins_is_there_and_not_counted(tmp_path: Path):
    trace = file(tmp_path, "over,0,86400,1,,,,x,,,", "runs,100,86400,2,,,,x,,,", "new,86500,60,1,,,,x,,,")
    found = load(trace, Size(), Window(from_days=1), seed=1)
    assert [(job.id, job.submit, job.duration) for job in found.jobs] == [("runs", 0, 100), ("new", 100, 60)]
    assert found.jobs[0].submit < found.counted_from <= found.jobs[1].submit
    assert [job.id for job in load(trace, Size(), Window(from_days=1, carry=False), seed=1).jobs] == ["new"]


def test_a_part_of_openb_is_chosen_by_the_seed():
    some = load("openb", Size(gpus=1000), Window(), seed=1)
    assert some.pools[some.gpu] == 1000 * PARTS
    assert some.machines != load("openb", Size(gpus=1000), Window(), seed=2).machines
    assert any(not machine.amounts[1] for machine in some.machines)


def test_a_file_of_ones_own(tmp_path: Path):
    found = load(file(tmp_path, "b,5,10.5,1,,,,x,,,", "a,0,0,,500,,,y,,,"), Size(gpus=8), Window(), seed=1)
    assert [(job.id, job.submit, job.duration, job.amounts) for job in found.jobs] == [
        ("a", 0, 1, (PARTS // 2,)),
        ("b", 5, 11, (PARTS,)),
    ]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("a,-1,1,1,,,,x,,,", "line 2: submit_time"),
        ("a,nan,1,1,,,,x,,,", "submit_time must be from 0"),
        ("a,0,inf,1,,,,x,,,", "duration must be from 0"),
        ("a,0,x,1,,,,x,,,", "duration must be a number; found 'x'"),
        ("a,0,1,1e30,,,,x,,,", "gpus must be from 0"),
        ("a,0,1,0,,,,x,,,", "a job needs GPUs"),
        ("a,0,1,,1500,,,x,,,", "whole GPUs"),
        ("a,0,1,1,,,,,,,", "team must not be empty"),
        (",0,1,1,,,,x,,,", "job_id must not be empty"),
        ("a,0,1,1", "cells"),
        ("a,0,1,1,,,,x,,,\na,0,1,1,,,,x,,,", "line 3: job 'a' is there twice"),
        ("", "no job in the window"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path: Path, row: str, says: str):
    with pytest.raises(BadTrace, match=says):
        load(file(tmp_path, row), Size(), Window(), seed=1)


def test_files_that_are_no_trace(tmp_path: Path):
    with pytest.raises(BadTrace, match="cannot be read"):
        load(str(tmp_path / "none.csv"), Size(), Window(), seed=1)
    with pytest.raises(BadTrace, match="the header lacks duration"):
        load(file(tmp_path, header="job_id,submit_time,gpus,team\n"), Size(), Window(), seed=1)
    packed = tmp_path / "jobs.csv.gz"
    packed.write_bytes(b"\x1f\x8b broken")
    with pytest.raises(BadTrace, match="cannot be read"):
        load(str(packed), Size(), Window(), seed=1)
    packed.write_bytes(b"\xff\xfe")
    with pytest.raises(BadTrace, match="UTF-8"):
        load(str(packed), Size(), Window(), seed=1)


def test_sizes_that_cannot_be(tmp_path: Path):
    with pytest.raises(BadTrace, match="multiple of 8"):
        load("philly", Size(gpus=12), Window(), seed=1)
    with pytest.raises(BadTrace, match="6212 GPUs"):
        load("openb", Size(gpus=7000), Window(), seed=1)
