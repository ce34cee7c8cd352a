"""`mwfs bench`, in small: is the platform healthy, and how fast?"""

import pytest


@pytest.mark.parametrize(
    ("shape", "n", "figure"),
    [("fanout", 200, "ops_per_s"), ("chain", 20, "ms_per_hop"), ("swarm", 20, "workflows_per_s")],
)
def test_the_platform_is_measured(mwfs, shape, n, figure):
    assert mwfs.json("bench", shape, "--n", n)[figure] > 0


def test_compiling_is_measured_without_a_platform(mwfs_alone):
    report = mwfs_alone.json("bench", "compile", "--n", 1000, "--linear-to", 3000)
    for figure in ("seconds", "decode_seconds", "validate_seconds", "import_seconds", "peak_memory_bytes"):
        assert report[figure] > 0, figure
    assert report["nodes"] == 1000
    assert report["server_libraries"] == []
    assert [each["nodes"] for each in report["linear"]["sizes"]] == [300, 900, 3000]
    assert report["linear"]["cost_of_a_node"] > 0
    shown = mwfs_alone("bench", "compile", "--n", 100, "--linear-to", 300, check=True).out
    assert "none loaded by import mwfs" in shown
    assert "(1: linear)" in shown
