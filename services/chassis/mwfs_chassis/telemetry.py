"""What a service tells about itself: log lines on stderr, and a page of metrics behind the token."""

import asyncio
import hmac
import json
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import Counter, Histogram, make_wsgi_app

from mwfs_chassis.errors import FailedPrecondition

log = logging.getLogger(__name__)

RPC_TOTAL = Counter("mwfs_rpc", "RPCs served, by method and code.", ("method", "code"))
RPC_SECONDS = Histogram("mwfs_rpc_seconds", "Time to serve a unary RPC.", ("method",))

_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure_logging(name: str) -> None:
    """One line per record on stderr: time, level, service, words, then `key=value` for each field in `extra`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(name))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.captureWarnings(True)


class LineFormatter(logging.Formatter):
    """Words plus fields on one line; a traceback becomes the field `traceback`, quoted."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        moment = f"{seconds}.{int(record.msecs):03d}Z"
        words = [moment, record.levelname, self._service, record.getMessage().replace("\n", "\\n")]
        words += [f"{key}={_field(value)}" for key, value in vars(record).items() if key not in _STANDARD_FIELDS]
        if record.exc_info:
            words.append(f"traceback={json.dumps(self.formatException(record.exc_info))}")
        return " ".join(words)


def _field(value: object) -> str:
    text = str(value)
    return text if text and text.isprintable() and not set(text) & set(' "=') else json.dumps(text)


class MetricsServer:
    """The process's Prometheus metrics over HTTP, for those who bring the token; 401 for the others."""

    def __init__(self, *, listen: str, token: str) -> None:
        self._listen = listen
        self._expected = f"Bearer {token}".encode()
        self._server: WSGIServer | None = None

    @property
    def address(self) -> str:
        """The actual `host:port`, once started."""
        assert self._server is not None, "not started"
        host, port = self._server.server_address[:2]
        return f"{host if isinstance(host, str) else host.decode()}:{port}"

    async def start(self) -> None:
        host, _, port = self._listen.rpartition(":")
        try:
            server = make_server(
                host, int(port), self._application(), server_class=_Server, handler_class=_QuietHandler
            )
        except OSError as error:
            raise FailedPrecondition(
                f"Cannot listen on {self._listen} for metrics: {error.strerror}.", "Free the port, or choose another."
            ) from error
        self._server = server
        threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="metrics", daemon=True
        ).start()

    async def stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            await asyncio.to_thread(server.shutdown)
            server.server_close()

    def _application(self) -> Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]:
        page = make_wsgi_app()

        def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            given = environ.get("HTTP_AUTHORIZATION", "").encode("latin-1")
            if not hmac.compare_digest(given, self._expected):
                start_response("401 Unauthorized", [("WWW-Authenticate", "Bearer"), ("Content-Type", "text/plain")])
                return [b"Send the home's token: Authorization: Bearer TOKEN\n"]
            answer: Iterable[bytes] = page(environ, start_response)
            return answer

        return application


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        # A service that is started again must not wait for connections of its last life, which linger in TIME_WAIT.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)
        # Without WSGIServer's look-up of the host's full name, which may ask the network.
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()


class _QuietHandler(WSGIRequestHandler):
    #: Seconds until a silent client is dropped.
    timeout = 5

    def log_message(self, format: str, *args: Any) -> None:
        """Scrapes are not worth a line each."""
