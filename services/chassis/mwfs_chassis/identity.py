"""Who we are when we call another service."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A token with the principal and team it speaks for."""

    token: str = field(repr=False)
    principal: str
    team: str

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """To be passed with each call: `stub.GetRun(request, metadata=identity.metadata)`."""
        return (("authorization", f"Bearer {self.token}"), ("mwfs-principal", self.principal), ("mwfs-team", self.team))
