"""Values of every newer kind of type on the platform: written on the command line, taken from earlier runs, shown as outputs."""

INPUTS = ["--input", "day=2026-11-25", "--input", "at=2026-11-23T07:30:00+01:00"]


def expected(kelvin, place, heat):
    return {
        "days": {"first": "2026-11-23", "last": "2026-11-29"},
        "plan": {"part": "2026-11-23", "wait": None},
        "at": "2026-11-29T06:30:00Z",
        "heat": heat,
        "words": f"{kelvin} at {place} after 2026-11-23",
    }


def test_they_are_given_and_come_back(mwfs):
    heat = {"kelvin": 300.0, "place": "oven"}
    run = mwfs.json("run", "typed_values:report", *INPUTS, "--input", 'heat={"kelvin": 300, "place": "oven"}')
    assert run["outputs"] == expected(300.0, "oven", heat)


def test_an_output_of_an_older_version_is_read_by_the_newer_one(mwfs):
    earlier = mwfs.json("run", "typed_values:warm", "--input", "celsius=20.85")
    assert earlier["outputs"] == {"result": 20.85}
    for more in ([], ["--compile-on-platform"]):
        run = mwfs.json("run", "typed_values:report", *INPUTS, "--input", f"heat=run:{earlier['run_id']}#result", *more)
        assert run["outputs"] == expected(294.0, "unknown", {"kelvin": 294.0, "place": "unknown"})
