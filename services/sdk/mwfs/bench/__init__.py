"""Is my platform healthy, and how fast? The workloads behind `mwfs bench`, and how they are measured."""
