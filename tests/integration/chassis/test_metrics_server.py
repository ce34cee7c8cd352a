"""The metrics page is for those who bring the token."""

import asyncio
import urllib.error
import urllib.request

import pytest

from mwfs_chassis.errors import FailedPrecondition
from mwfs_chassis.telemetry import MetricsServer


def scrape(address: str, authorization: str | None) -> tuple[int, str]:
    headers = {"Authorization": authorization} if authorization else {}
    request = urllib.request.Request(f"http://{address}/metrics", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read().decode()


async def test_metrics_need_the_token() -> None:
    server = MetricsServer(listen="127.0.0.1:0", token="secret-token")
    await server.start()
    code, page = await asyncio.to_thread(scrape, server.address, "Bearer secret-token")
    assert code == 200
    assert "process_resident_memory_bytes" in page
    for wrong in (None, "Bearer wrong", "secret-token"):
        code, page = await asyncio.to_thread(scrape, server.address, wrong)
        assert code == 401
        assert "process_" not in page
    await server.stop()
    await server.stop()


async def test_a_taken_port_is_said() -> None:
    server = MetricsServer(listen="127.0.0.1:0", token="t")
    await server.start()
    second = MetricsServer(listen=server.address, token="t")
    with pytest.raises(FailedPrecondition, match="Cannot listen on"):
        await second.start()
    await server.stop()
