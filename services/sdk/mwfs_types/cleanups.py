"""Cleanups of what was cancelled: which control nodes run one, what is sheltered by them, and what they still wait for. (pure)

The same for `run_local` and the platform. A control node with a cleanup whose body has begun is not cancelled at once, it is *cleaning*: what its
body has not ended is cancelled; once all of it has ended, at any depth, the cleanup runs, sheltered from whatever cancelled the body; then the
node is cancelled. So cleanups inside come before those outside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from mwfs_api.dags.v1 import dag_pb2
from mwfs_types.dag_steps import in_cleanup


class Cleanups:
    """The cleaning nodes of one run."""

    def __init__(self, parent_of: Callable[[int], int], patch_of: Callable[[int], dag_pb2.DagPatch | None]) -> None:
        """`parent_of`: the control node that made a node, -1 for none. `patch_of`: the newest patch of a control node that has not ended, if
        the node is in it."""
        self._parent_of = parent_of
        self._patch_of = patch_of
        #: Control nodes that are cancelled once their cleanup has ended.
        self.cleaning: set[int] = set()
        #: Nodes whose result is of no use any more and that have not ended; and how many there are below each control node.
        self.lingering: set[int] = set()
        self._below: Counter[int] = Counter()

    def begin(self, node: int) -> None:
        """A control node is cleaning from now on."""
        self.cleaning.add(node)
        self.linger(node)

    def linger(self, node: int) -> None:
        """A node was told to stop and ends later: cleanups around it wait for that."""
        if node not in self.lingering:
            self.lingering.add(node)
            self._below.update(self._around(node))

    def ended(self, node: int) -> list[int]:
        """A node has ended; gives the control nodes around it below which nothing lingers now."""
        self.cleaning.discard(node)
        if node not in self.lingering:
            return []
        self.lingering.discard(node)
        free = []
        for one in self._around(node):
            self._below[one] -= 1
            if not self._below[one]:
                del self._below[one]
                free.append(one)
        return free

    def waits(self, node: int) -> bool:
        """Whether something lingers below a control node."""
        return node in self._below

    def shelters(self, node: int) -> bool:
        """Whether a node is part of the cleanup of a cleaning node, at any depth."""
        while self.cleaning and node >= 0:
            patch = self._patch_of(node)
            if patch is None:
                return False
            node = self._parent_of(node)
            if node in self.cleaning:
                return in_cleanup(patch)
        return False

    def give_up(self) -> None:
        """No cleanup is waited for any more."""
        self.cleaning.clear()

    def reset(self) -> None:
        """A new round."""
        self.cleaning.clear()
        self.lingering.clear()
        self._below.clear()

    def _around(self, node: int) -> Iterator[int]:
        node = self._parent_of(node)
        while node >= 0:
            yield node
            node = self._parent_of(node)


__all__ = ["Cleanups"]
