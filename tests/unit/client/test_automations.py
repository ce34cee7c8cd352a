"""What an input may take from an occasion, as it is written."""

import pytest

from mwfs.cli.occasion_runs import fill_words, read_fills
from mwfs.client.automations import read_fill
from mwfs.errors import InvalidInput
from mwfs_api.orchestrator.v1 import automations_pb2 as pb


@pytest.mark.parametrize(
    ("what", "fill"),
    [
        ("time", pb.Fill(source=pb.FILL_SOURCE_TIME)),
        ("day", pb.Fill(source=pb.FILL_SOURCE_TIME, grain=pb.GRAIN_DAY)),
        ("day-1", pb.Fill(source=pb.FILL_SOURCE_TIME, grain=pb.GRAIN_DAY, shift=-1)),
        ("hour+12", pb.Fill(source=pb.FILL_SOURCE_TIME, grain=pb.GRAIN_HOUR, shift=12)),
        ("week", pb.Fill(source=pb.FILL_SOURCE_TIME, grain=pb.GRAIN_WEEK)),
        ("month-3", pb.Fill(source=pb.FILL_SOURCE_TIME, grain=pb.GRAIN_MONTH, shift=-3)),
        ("output:model", pb.Fill(source=pb.FILL_SOURCE_OUTPUT, output="model")),
        ("run", pb.Fill(source=pb.FILL_SOURCE_RUN)),
        ("state", pb.Fill(source=pb.FILL_SOURCE_STATE)),
        ("partition", pb.Fill(source=pb.FILL_SOURCE_PARTITION)),
    ],
)
def test_it_is_read_and_shown_alike(what: str, fill: pb.Fill):
    fill.input = "x"
    assert read_fill("x", what) == fill
    assert fill_words(fill) == what


@pytest.mark.parametrize(
    "what", ["", "days", "day-", "day-x", "day--1", "day-²", "output:", "outputs", "year", "day-99999999"]
)
def test_what_no_occasion_knows_is_refused(what: str):
    with pytest.raises(InvalidInput, match="nothing that an occasion knows"):
        read_fill("x", what)


@pytest.mark.parametrize("pairs", [["day"], ["=day"], ["day="], ["day=day", "day=hour"]])
def test_malformed_pairs_are_refused(pairs: list[str]):
    with pytest.raises(InvalidInput, match="--fill"):
        read_fills(pairs, "--fill")
