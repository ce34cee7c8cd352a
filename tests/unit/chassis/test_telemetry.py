"""What log lines look like."""

import logging
import sys

from mwfs_chassis.telemetry import LineFormatter


def test_a_record_is_one_line_of_words_and_fields() -> None:
    record = logging.makeLogRecord(
        {"msg": "run %s\naccepted", "args": ("r1",), "levelname": "INFO", "created": 0.25, "msecs": 250.0}
    )
    record.nodes = 3
    record.reason = 'a "quoted" word'
    line = LineFormatter("orchestrator").format(record)
    assert line == ('1970-01-01T00:00:00.250Z INFO orchestrator run r1\\naccepted nodes=3 reason="a \\"quoted\\" word"')


def test_a_traceback_stays_on_the_line() -> None:
    try:
        raise ValueError("no such slot")
    except ValueError:
        record = logging.makeLogRecord({"msg": "failed", "exc_info": sys.exc_info()})
    line = LineFormatter("scheduler").format(record)
    assert "\n" not in line
    assert "ValueError: no such slot" in line
