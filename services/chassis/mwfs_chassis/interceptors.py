"""What happens around every RPC: the caller is checked before the request is read, and errors become codes after it."""

import asyncio
import hmac
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, NoReturn, TypeAlias

import grpc

from mwfs_chassis.caller import Caller, set_caller
from mwfs_chassis.errors import WireError, wire_error
from mwfs_chassis.ids import new_id
from mwfs_chassis.telemetry import RPC_SECONDS, RPC_TOTAL

log = logging.getLogger(__name__)

#: These answer questions about the server itself, so the token is enough.
_NO_TEAM_NEEDED = ("/grpc.health.", "/grpc.reflection.")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+\\-]{0,127}")

#: What reading from a stream raises in a server that is stopping; grpc keeps the class to itself.
_SERVER_STOPPED = "_ServerStoppedError"

Handler: TypeAlias = Any  # an RpcMethodHandler of whatever messages
Continuation: TypeAlias = Callable[[grpc.HandlerCallDetails], Awaitable[Any]]


class AuthInterceptor(grpc.aio.ServerInterceptor):
    """Lets in who brings the token and names a principal and a team.

    Real identity replaces this class, and no service notices.
    """

    def __init__(self, token: str) -> None:
        self._expected = f"Bearer {token}".encode()

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler:
        metadata: dict[str, Any] = dict(handler_call_details.invocation_metadata or ())
        given = str(metadata.get("authorization", "")).encode()
        if not hmac.compare_digest(given, self._expected):
            what = "The token is not this home's token." if given else "The call carries no token."
            return _refusal(
                f"{what} Send the token that `mwfs up` wrote into the home, as `authorization: Bearer TOKEN`."
            )
        principal, team = str(metadata.get("mwfs-principal", "")), str(metadata.get("mwfs-team", ""))
        if not handler_call_details.method.startswith(_NO_TEAM_NEEDED):
            for key, value in (("mwfs-principal", principal), ("mwfs-team", team)):
                if not _NAME.fullmatch(value):
                    found = f"is {value[:128]!r}" if value else "is missing"
                    return _refusal(
                        f"The metadata {key} {found}. Send a name of letters, digits and . _ - @ + (at most 128)."
                    )
        set_caller(Caller(principal=principal, team=team))
        return await continuation(handler_call_details)


def _refusal(message: str) -> Handler:
    async def refuse(_requests: object, context: grpc.aio.ServicerContext[Any, Any]) -> NoReturn:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, message)

    # Whatever the method's kind: a stream handler refuses without reading the request.
    return grpc.stream_stream_rpc_method_handler(refuse)


class ErrorInterceptor(grpc.aio.ServerInterceptor):
    """Gives each error its code, logs defects once, bounds unary calls without a deadline, and counts."""

    def __init__(self, *, default_deadline_s: float) -> None:
        self._default_deadline_s = default_deadline_s
        self._wrapped: dict[str, Handler] = {}

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler:
        method = handler_call_details.method
        wrapped = self._wrapped.get(method)
        if wrapped is None:
            handler = await continuation(handler_call_details)
            if handler is None or method.startswith(_NO_TEAM_NEEDED):
                return handler
            wrapped = self._wrapped[method] = self._wrap(method, handler)
        return wrapped

    def _wrap(self, method: str, handler: Handler) -> Handler:
        codec = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        if handler.request_streaming and handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(self._stream(method, handler.stream_stream), **codec)
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(self._stream(method, handler.unary_stream), **codec)
        if handler.request_streaming:
            return grpc.stream_unary_rpc_method_handler(
                self._answer(method, handler.stream_unary, bounded=False), **codec
            )
        return grpc.unary_unary_rpc_method_handler(self._answer(method, handler.unary_unary, bounded=True), **codec)

    def _answer(self, method: str, behaviour: Any, *, bounded: bool) -> Any:
        seconds = RPC_SECONDS.labels(method)

        async def answer(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            begun = time.perf_counter()
            unbounded = not bounded or context.time_remaining() is not None
            try:
                async with asyncio.timeout(None if unbounded else self._default_deadline_s) as limit:
                    response = await behaviour(request, context)
            except TimeoutError as error:
                if not limit.expired():
                    await _abort(method, context, error)
                text = f"No answer within {self._default_deadline_s:g} s. Send a longer deadline if that is expected."
                await _give_up(method, context, WireError(code=grpc.StatusCode.DEADLINE_EXCEEDED, message=text))
            except Exception as error:
                await _abort(method, context, error)
            else:
                RPC_TOTAL.labels(method, "OK").inc()
                return response
            finally:
                seconds.observe(time.perf_counter() - begun)

        return answer

    def _stream(self, method: str, behaviour: Any) -> Any:
        async def stream(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            try:
                answers = behaviour(request, context)
                if hasattr(answers, "__aiter__"):
                    async with aclosing(answers):
                        async for answer in answers:
                            yield answer
                else:
                    await answers
            except Exception as error:
                await _abort(method, context, error)
            RPC_TOTAL.labels(method, "OK").inc()

        return stream


async def _abort(method: str, context: grpc.aio.ServicerContext[Any, Any], error: Exception) -> NoReturn:
    if isinstance(error, grpc.aio.AbortError) or type(error).__name__ == _SERVER_STOPPED:
        raise error
    known = wire_error(error)
    if known is None:
        error_id = new_id()
        log.error("internal error", exc_info=error, extra={"error_id": error_id, "method": method})
        known = WireError(code=grpc.StatusCode.INTERNAL, message=f"internal error {error_id}")
    await _give_up(method, context, known)


async def _give_up(method: str, context: grpc.aio.ServicerContext[Any, Any], known: WireError) -> NoReturn:
    RPC_TOTAL.labels(method, known.code.name).inc()
    await context.abort(known.code, known.message)
