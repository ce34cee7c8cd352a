"""The traces that come with the package."""

from __future__ import annotations

from typing import Final

#: The traces that come with the package; any other name is the path of a file with the same columns.
SHIPPED: Final = {
    "philly": "philly_2017_vc_jobs.csv.gz",
    "openb": "openb_2023_pods.csv.gz",
    "openb-gpuspec33": "openb_2023_pods_gpuspec33.csv.gz",
    "helios": "helios_earth_2020_vc_hourly.csv.gz",
}
NODES: Final = "openb_2023_nodes.csv.gz"
