"""What one orchestrator replica is to be told: collected here, taken in batches by its stream."""

import asyncio
from collections.abc import AsyncIterator

from mwfs_api.action.v1 import action_pb2

#: So that a message stays far below the limit of 64 MiB.
MAX_OUTCOMES = 1_000
MAX_BYTES = 8 * 1024 * 1024


class ReplicaStream:
    """One Attach of a replica. The newest stream of a replica is the one that counts."""

    def __init__(self, replica: str) -> None:
        self.replica = replica
        self.replaced = False
        self._outcomes: list[action_pb2.Outcome] = []
        self._started: list[action_pb2.Started] = []
        self._kept: list[action_pb2.Kept] = []
        self._welcome: action_pb2.Welcome | None = None
        self._news = asyncio.Event()
        self._closed = False

    def welcome(self, welcome: action_pb2.Welcome) -> None:
        self._welcome = welcome
        self._news.set()

    def tell_outcomes(self, outcomes: list[action_pb2.Outcome]) -> None:
        self._outcomes += outcomes
        self._news.set()

    def tell_started(self, started: action_pb2.Started) -> None:
        self._started.append(started)
        self._news.set()

    def tell_kept(self, kept: action_pb2.Kept) -> None:
        self._kept.append(kept)
        self._news.set()

    def close(self, *, replaced: bool = False) -> None:
        self.replaced = self.replaced or replaced
        self._closed = True
        self._news.set()

    async def responses(self) -> AsyncIterator[action_pb2.AttachResponse]:
        """All that is told, in batches, until closed."""
        while True:
            await self._news.wait()
            self._news.clear()
            if self._closed:
                return
            for response in self._take():
                yield response

    def _take(self) -> list[action_pb2.AttachResponse]:
        outcomes, self._outcomes = self._outcomes, []
        responses = [action_pb2.AttachResponse(welcome=self._welcome, started=self._started, kept=self._kept)]
        self._welcome, self._started, self._kept = None, [], []
        size = 0
        for outcome in outcomes:
            response = responses[-1]
            if len(response.outcomes) >= MAX_OUTCOMES or size > MAX_BYTES:
                response = action_pb2.AttachResponse()
                responses.append(response)
                size = 0
            response.outcomes.append(outcome)
            size += sum(map(len, outcome.outputs)) + 256
        return responses
