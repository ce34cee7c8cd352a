"""A workflow that asks for more than any machine has."""

import mwfs


@mwfs.operator(resources=mwfs.Resources(cpu=100_000, gpu=1000))
def learn() -> int:
    return 1


@mwfs.workflow
def train() -> int:
    return learn()
