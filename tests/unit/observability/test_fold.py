"""What the events of a run add up to."""

from __future__ import annotations

import pytest
from fixtures.run_events import BEGIN_US, STEP_US, Story
from hypothesis import given
from hypothesis import strategies as st

from mwfs_api.events.v1 import events_pb2 as pb
from mwfs_observability.fold import BODY_KINDS, BadEvents, Picture, contiguous, fold


def picture_of(story: Story) -> Picture:
    return fold(story.events())


def test_a_run_that_succeeds() -> None:
    story = Story().accept().start(2).commit().begin(0).commit().succeed(0).begin(1).commit().succeed(1).end()
    picture = picture_of(story)
    assert picture.state == pb.RUN_STATE_SUCCEEDED
    assert picture.facts.team == "ads"
    assert (picture.accept_us, picture.start_us, picture.end_us) == (
        BEGIN_US,
        BEGIN_US + STEP_US,
        BEGIN_US + 6 * STEP_US,
    )
    assert picture.nodes == {0: (pb.NODE_STATE_SUCCEEDED, 1), 1: (pb.NODE_STATE_SUCCEEDED, 1)}
    assert picture.last_event == 7
    attempts = picture.attempts
    assert attempts.node.tolist() == [0, 1]
    assert attempts.state.tolist() == [pb.ATTEMPT_STATE_SUCCEEDED] * 2
    assert attempts.commit_us.tolist() == [BEGIN_US + 2 * STEP_US, BEGIN_US + 4 * STEP_US]
    assert attempts.end_us.tolist() == [BEGIN_US + 3 * STEP_US, BEGIN_US + 5 * STEP_US]
    assert (attempts.commit_us - attempts.ready_us).tolist() == [500, 500]
    assert (attempts.end_us - attempts.body_start_us).tolist() == [600, 600]
    assert (attempts.end_us - attempts.body_end_us).tolist() == [100, 100]
    assert [picture.places[place] for place in attempts.place] == ["local/worker-0", "local/worker-1"]
    assert [picture.operator_of(node) for node in (-1, 0, 1, 2)] == ["compile", "shop:even", "shop:odd", ""]


def test_what_still_runs_has_no_end() -> None:
    picture = picture_of(Story().accept().start(1).begin(0))
    assert picture.state == pb.RUN_STATE_RUNNING
    assert picture.attempts.state.tolist() == [pb.ATTEMPT_STATE_RUNNING]
    assert picture.attempts.end_us.tolist() == [0]
    assert picture.attempts.place.tolist() == [-1]
    assert picture.nodes == {0: (pb.NODE_STATE_RUNNING, 1)}


@pytest.mark.parametrize(
    ("failure", "state"),
    [
        (pb.FAILURE_KIND_RAISED, pb.ATTEMPT_STATE_FAILED),
        (pb.FAILURE_KIND_TIMED_OUT, pb.ATTEMPT_STATE_TIMED_OUT),
        (pb.FAILURE_KIND_LOST, pb.ATTEMPT_STATE_LOST),
        (pb.FAILURE_KIND_PREEMPTED, pb.ATTEMPT_STATE_PREEMPTED),
    ],
)
def test_an_attempt_that_is_tried_again_tells_why(failure: int, state: int) -> None:
    picture = picture_of(Story().accept().start(1).begin(0).retry(0, failure).commit().begin(0).succeed(0))
    assert picture.attempts.attempt.tolist() == [1, 2]
    assert picture.attempts.state.tolist() == [state, pb.ATTEMPT_STATE_SUCCEEDED]
    assert {at: found.kind for at, found in picture.attempts.failures.items()} == {0: failure}
    assert picture.nodes == {0: (pb.NODE_STATE_SUCCEEDED, 2)}


def test_a_revived_run_begins_a_round_and_keeps_what_succeeded() -> None:
    story = Story().accept().start(3).begin(0).succeed(0).begin(1).fail(1).upstream_failed(2)
    story.end(pb.EVENT_KIND_RUN_FAILED).revive()
    picture = picture_of(story)
    assert (picture.state, picture.round, picture.end_us) == (pb.RUN_STATE_RUNNING, 1, 0)
    assert picture.nodes == {
        0: (pb.NODE_STATE_SUCCEEDED, 1),
        1: (pb.NODE_STATE_PENDING, 1),
        2: (pb.NODE_STATE_PENDING, 0),
    }
    assert picture_of(story.begin(1).succeed(1)).nodes[1] == (pb.NODE_STATE_SUCCEEDED, 2)


def test_compiling_on_the_platform_is_an_attempt_of_node_minus_one() -> None:
    picture = picture_of(Story().accept().compile().begin(-1))
    assert picture.state == pb.RUN_STATE_COMPILING
    assert picture.attempts.node.tolist() == [-1]
    picture = picture_of(Story().accept().compile().begin(-1).fail(-1).end(pb.EVENT_KIND_RUN_FAILED).revive())
    assert picture.state == pb.RUN_STATE_COMPILING
    assert picture.nodes == {-1: (pb.NODE_STATE_PENDING, 1)}


def test_cancelled_attempts_have_an_end_and_no_body() -> None:
    story = Story().accept().start(2).begin(0).event(pb.EVENT_KIND_RUN_CANCELLING).cancel_node(1).cancel_node(0)
    picture = picture_of(story.end(pb.EVENT_KIND_RUN_CANCELLED))
    assert picture.state == pb.RUN_STATE_CANCELLED
    assert picture.attempts.state.tolist() == [pb.ATTEMPT_STATE_CANCELLED]
    assert picture.attempts.body_end_us.tolist() == [0]
    assert picture.attempts.end_us.tolist() == [BEGIN_US + 5 * STEP_US]


def test_no_events_are_no_run() -> None:
    assert picture_of(Story()).state == pb.RUN_STATE_UNSPECIFIED


def test_batches_count_up_to_the_first_gap_and_only_once() -> None:
    first, second, third = Story().accept().commit().start(1).commit().begin(0).events()
    assert contiguous([first, first, second]) == [first, second]
    assert contiguous([first, third]) == [first]
    assert contiguous([second]) == []


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("node", "node has 0 entries, expected 2"),
        ("body_started_us", "body_started_us has 0 entries, expected 1"),
        ("ready_us", "ready_us has 0 entries, expected 1"),
        ("places", "a place beyond 0"),
    ],
)
def test_columns_that_do_not_belong_together_are_refused(column: str, words: str) -> None:
    [batch] = Story().begin(0).succeed(0).events()
    batch.ClearField(column)
    with pytest.raises(BadEvents, match=words):
        fold([batch])


KINDS = [kind for kind in pb.EventKind.values() if kind]


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.integers(-1, 3), st.integers(0, 3)), max_size=30))
def test_a_history_that_makes_no_sense_still_folds(history: list[tuple[int, int, int]]) -> None:
    story = Story()
    for kind, node, attempt in history:
        if kind == pb.EVENT_KIND_NODE_STARTED:
            story.begin(node, attempt)
        elif kind in BODY_KINDS:
            story.end_attempt(kind, node, attempt)
        else:
            story.event(kind, node, attempt)
    assert picture_of(story).last_event == len(history)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=8))
def test_how_events_are_cut_into_batches_makes_no_difference(cuts: list[int]) -> None:
    def tell(story: Story, commit_after: set[int]) -> Story:
        steps = [
            story.accept,
            lambda: story.start(3),
            lambda: story.begin(0),
            lambda: story.begin(1),
            lambda: story.retry(1),
            lambda: story.succeed(0),
            lambda: story.begin(1),
            lambda: story.fail(1),
            lambda: story.upstream_failed(2),
            lambda: story.end(pb.EVENT_KIND_RUN_FAILED),
        ]
        for index, step in enumerate(steps):
            step()
            if index in commit_after:
                story.commit()
        return story

    whole, cut = picture_of(tell(Story(), set())), picture_of(tell(Story(), set(cuts)))
    assert (whole.nodes, whole.state, whole.last_event) == (cut.nodes, cut.state, cut.last_event)
    for column in ("node", "attempt", "state", "commit_us", "body_start_us", "end_us"):
        assert getattr(whole.attempts, column).tolist() == getattr(cut.attempts, column).tolist()
