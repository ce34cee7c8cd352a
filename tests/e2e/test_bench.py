"""`mwfs bench`, in small: is the platform healthy, and how fast?"""

import pytest


@pytest.mark.parametrize(
    ("shape", "n", "figure"),
    [("fanout", 200, "ops_per_s"), ("chain", 20, "ms_per_hop"), ("swarm", 20, "workflows_per_s")],
)
def test_the_platform_is_measured(mwfs, shape, n, figure):
    assert mwfs.json("bench", shape, "--n", n)[figure] > 0


def test_compiling_is_measured_without_a_platform(mwfs_alone):
    assert mwfs_alone.json("bench", "compile", "--n", 1000)["seconds"] > 0
