"""Long-lived streams to other services: begun again whenever they end, in whatever way they ended."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import grpc

from mwfs_chassis.postgres import is_transient

log = logging.getLogger(__name__)

_RETRY_S = 0.25


async def keep_open(
    name: str,
    talk: Callable[[], Awaitable[None]],
    *,
    ended: Callable[[], None] = lambda: None,
    failed: Callable[[str], None] | None = None,
) -> None:
    """Calls `talk`, which opens a stream and uses it to its end, again and again until this task is cancelled.

    `ended` is called after each. A database that is away is waited for; a defect in `talk` is logged, and handed to `failed` when there is one; the stream is begun again all the same.
    """
    task = asyncio.current_task()
    assert task is not None
    while True:
        try:
            await talk()
        except asyncio.CancelledError:
            # grpc.aio also tells a reader of a call that was cut by a cancellation, of which the task knows nothing.
            if task.cancelling():
                raise
        except (grpc.RpcError, asyncio.InvalidStateError):
            pass  # the peer is away, or the call ended while we wrote
        except Exception as error:
            if not is_transient(error):
                log.exception("a stream failed", extra={"stream": name})
                if failed is not None:
                    failed(f"{name}: {error!r}")
        if task.cancelling():
            raise asyncio.CancelledError  # and a call that ends in the same moment says how it ended instead
        ended()
        await asyncio.sleep(_RETRY_S)
