"""Times as people write them."""

from datetime import UTC, datetime

import pytest

from mwfs.cli.moments import moment
from mwfs.errors import InvalidInput

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90min", datetime(2026, 11, 20, 10, 30, tzinfo=UTC)),
        ("2 h", datetime(2026, 11, 20, 10, tzinfo=UTC)),
        ("7d", datetime(2026, 11, 13, 12, tzinfo=UTC)),
        ("2026-11-19T08:00+02:00", datetime(2026, 11, 19, 6, tzinfo=UTC)),
        ("2026-11-19T08:00Z", datetime(2026, 11, 19, 8, tzinfo=UTC)),
    ],
)
def test_a_moment_is_a_date_or_how_long_ago(text: str, expected: datetime) -> None:
    assert moment(text, NOW) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "5", "5y", "-2h", "2026-13-01", "999999w", "2026-11-19T25:00"])
def test_what_is_no_moment_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidInput, match="2026-11-20"):
        moment(text, NOW)
