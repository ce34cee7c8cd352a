"""Which GPUs of this host are in use."""


class GpuSlots:
    """Hands out GPU indices, lowest first, so that an attempt of the same kind finds the worker that used them before."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = list(range(count))

    @property
    def free(self) -> int:
        return len(self._free)

    def take(self, count: int) -> tuple[int, ...] | None:
        """That many indices, or None when so many are not free."""
        if count > len(self._free):
            return None
        taken, self._free = self._free[:count], self._free[count:]
        return tuple(taken)

    def give_back(self, indices: tuple[int, ...]) -> None:
        if set(indices) & set(self._free):
            raise AssertionError(f"GPU given back twice: {indices}")
        self._free = sorted([*self._free, *indices])
