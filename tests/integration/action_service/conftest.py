"""A real action service in its own process, with a replica that talks to it and a project of user code in a bundle."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
import pytest_asyncio

from mwfs.artifacts import ArtifactStore
from mwfs.bundle import build_bundle
from mwfs_api.action.v1 import action_pb2, action_pb2_grpc
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_chassis.channel import open_channel
from mwfs_chassis.identity import Identity

TOKEN = "test-token"
IDENTITY = Identity(token=TOKEN, principal="tester", team="team")
PATIENCE = 60.0

Key = tuple[str, int, int]


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ServiceProcess:
    """`python -m mwfs_action_service` on a home of its own; may be killed and started again."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        self.artifacts = home / "artifacts"
        self.address = f"127.0.0.1:{free_port()}"
        self.metrics_address = f"127.0.0.1:{free_port()}"
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self.log = home / "service.log"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mwfs_action_service"],
                env={
                    **{name: value for name, value in os.environ.items() if not name.startswith("MWFS_")},
                    "MWFS_HOME": str(self.home),
                    "MWFS_TOKEN": TOKEN,
                    "MWFS_LISTEN": self.address,
                    "MWFS_METRICS_LISTEN": self.metrics_address,
                    "MWFS_DIE_WITH_PARENT": "1",
                    "MWFS_SCHEDULER_ADDRESS": "127.0.0.1:1",
                    "MWFS_ARTIFACTS": str(self.artifacts),
                    "MWFS_CPUS": "2",
                    **self._environment,
                },
                stdout=log,
                stderr=log,
            )

    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.pid).children()

    def kill(self) -> None:
        """kill -9, and wait until its workers are gone as well: the kernel ends them."""
        workers = self.workers()
        self._signal(signal.SIGKILL)
        _, alive = psutil.wait_procs(workers, timeout=PATIENCE)
        assert not alive, "workers outlived their service"

    def stop(self) -> None:
        self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.wait(PATIENCE)


@dataclass
class Project:
    """A folder of user code, and where it can be loaded from."""

    folder: Path
    store: ArtifactStore
    name: str

    def write(self, source: str, module: str | None = None) -> None:
        (self.folder / f"{module or self.name}.py").write_text(textwrap.dedent(source))

    def bundle(self) -> str:
        """Upload the folder as it is now."""
        bundle = build_bundle(self.name)
        assert bundle is not None
        return self.store.put_bytes(bundle.data, "bundle", "bundle.zip").digest


@dataclass
class Replica:
    """An orchestrator's end of Attach."""

    call: Any
    welcome: action_pb2.Welcome
    outcomes: dict[Key, action_pb2.Outcome] = field(default_factory=dict)
    started: dict[Key, action_pb2.Started] = field(default_factory=dict)
    kept: dict[Key, list[events_pb2.Checkpoint]] = field(default_factory=dict)
    received: int = 0
    _specs: dict[bytes, int] = field(default_factory=dict)
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)
    error: grpc.aio.AioRpcError | None = None

    async def read(self) -> None:
        try:
            while (response := await self.call.read()) is not grpc.aio.EOF:
                async with self._news:
                    for outcome in response.outcomes:
                        self.outcomes[key_tuple(outcome.key)] = outcome
                        self.received += 1
                    for kept in response.kept:
                        self.kept.setdefault(key_tuple(kept.key), []).append(kept.checkpoint)
                    for started in response.started:
                        self.started[key_tuple(started.key)] = started
                    self._news.notify_all()
        except grpc.aio.AioRpcError as error:
            async with self._news:
                self.error = error
                self._news.notify_all()

    def spec(
        self, bundle: str, module: str, qualname: str, **timeouts: float
    ) -> tuple[int, list[action_pb2.OperatorSpec]]:
        """The id of an operator, and what must be sent so that the service knows it."""
        operator = dag_pb2.Operator(module=module, qualname=qualname)
        for name, seconds in timeouts.items():
            setattr(operator, f"{name}_seconds", seconds)
        spec = action_pb2.OperatorSpec(bundle_digest=bundle, operator=operator)
        key = spec.SerializeToString(deterministic=True)
        known = self._specs.get(key)
        if known is not None:
            return known, []
        spec.id = self._specs[key] = len(self._specs) + 1
        return spec.id, [spec]

    async def launch(
        self,
        bundle: str,
        ref: str,
        arguments: Iterable[types_pb2.Value] = (),
        *,
        key: Key | None = None,
        epoch: int = 1,
        gpus: int = 0,
        resume_from: events_pb2.Checkpoint | None = None,
        **timeouts: float,
    ) -> Key:
        module, _, qualname = ref.partition(":")
        number, specs = self.spec(bundle, module, qualname, **timeouts)
        key = key or new_key()
        launch = action_pb2.Launch(
            key=key_proto(key),
            operator=number,
            arguments=types_pb2.ListValue(items=arguments).SerializeToString(),
            grant_epoch=epoch,
            resources=dag_pb2.Resources(gpus=gpus),
            resume_from=resume_from,
        )
        await self.call.write(action_pb2.AttachRequest(operators=specs, launches=[launch]))
        return key

    async def compile(self, bundle: str, workflow: str, inputs: dict[str, types_pb2.Value]) -> Key:
        key = (str(uuid.uuid4()), -1, 1)
        job = action_pb2.CompileJob(workflow=workflow, bundle_digest=bundle, inputs=inputs)
        launch = action_pb2.Launch(key=key_proto(key), compile=job, grant_epoch=1)
        await self.call.write(action_pb2.AttachRequest(launches=[launch]))
        return key

    async def stop(self, *keys: Key) -> None:
        await self.call.write(action_pb2.AttachRequest(stops=map(key_proto, keys)))

    async def notify(self, key: Key, *, grace_s: float, reason: str = "") -> None:
        notice = action_pb2.Notice(key=key_proto(key), grace_ms=int(grace_s * 1000), reason=reason)
        await self.call.write(action_pb2.AttachRequest(notices=[notice]))

    async def acknowledge(self, *keys: Key) -> None:
        await self.call.write(action_pb2.AttachRequest(acknowledged=map(key_proto, keys)))

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE), self._news:
            await self._news.wait_for(lambda: condition() or self.error is not None)
            if not condition():
                assert self.error is not None
                raise self.error

    async def outcome(self, key: Key) -> action_pb2.Outcome:
        await self.wait_until(lambda: key in self.outcomes)
        return self.outcomes[key]

    async def begun(self, key: Key) -> action_pb2.Started:
        await self.wait_until(lambda: key in self.started)
        return self.started[key]

    async def run(self, bundle: str, ref: str, *arguments: types_pb2.Value, **options: Any) -> action_pb2.Outcome:
        return await self.outcome(await self.launch(bundle, ref, arguments, **options))


def key_tuple(key: action_pb2.AttemptKey) -> Key:
    return key.run_id, key.node, key.attempt


def key_proto(key: Key) -> action_pb2.AttemptKey:
    return action_pb2.AttemptKey(run_id=key[0], node=key[1], attempt=key[2])


def new_key() -> Key:
    return (str(uuid.uuid4()), 0, 1)


class Host:
    """What a test works with."""

    def __init__(self, service: ServiceProcess, project: Project) -> None:
        self.service = service
        self.project = project
        self._channel = open_channel(service.address)
        self._tasks: list[asyncio.Task[None]] = []
        self.actions = action_pb2_grpc.ActionServiceStub(self._channel)  # type: ignore[no-untyped-call]
        self.artifacts = action_pb2_grpc.ArtifactServiceStub(self._channel)  # type: ignore[no-untyped-call]
        self.metadata = IDENTITY.metadata

    async def attach(self, name: str = "replica-1", *, hello: action_pb2.AttachHello | None = None) -> Replica:
        call = self.actions.Attach(metadata=IDENTITY.metadata, wait_for_ready=True, timeout=PATIENCE * 2)
        await call.write(action_pb2.AttachRequest(hello=hello or action_pb2.AttachHello(replica=name)))
        first = await call.read()
        assert first.HasField("welcome")
        replica = Replica(call=call, welcome=first.welcome)
        for outcome in first.outcomes:
            replica.outcomes[key_tuple(outcome.key)] = outcome
        for kept in first.kept:
            replica.kept[key_tuple(kept.key)] = [kept.checkpoint]
        self._tasks.append(asyncio.create_task(replica.read()))
        return replica

    async def logs(self, key: Key, **options: Any) -> bytes:
        request = action_pb2.ReadLogsRequest(key=key_proto(key), **options)
        call = self.actions.ReadLogs(request, metadata=IDENTITY.metadata, timeout=PATIENCE)
        return b"".join([response.data async for response in call])

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self._channel.close()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    name = f"proj_{uuid.uuid4().hex[:8]}"
    return Project(folder=folder, store=ArtifactStore(tmp_path / "home" / "artifacts"), name=name)


@pytest.fixture
def service_environment() -> dict[str, str]:
    """Overridden by tests that need another host."""
    return {}


@pytest_asyncio.fixture
async def host(tmp_path: Path, project: Project, service_environment: dict[str, str]) -> AsyncIterator[Host]:
    service = ServiceProcess(tmp_path / "home", **service_environment)
    service.start()
    host = Host(service, project)
    try:
        yield host
    finally:
        await host.close()
        service.stop()


def integer(number: int) -> types_pb2.Value:
    return types_pb2.Value(integer=number)


def text(words: str) -> types_pb2.Value:
    return types_pb2.Value(text=words)


SUCCEEDED = events_pb2.ATTEMPT_STATE_SUCCEEDED
