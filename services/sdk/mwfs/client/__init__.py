"""Talking to a running platform: `Client`, and `BlockingClient`, its blocking facade."""

from mwfs.client.async_client import Client
from mwfs.client.blocking import BlockingClient
from mwfs.client.outputs import RemoteFile
from mwfs.client.run_events import RunEvent
from mwfs.client.submissions import Submitted

__all__ = ["BlockingClient", "Client", "RemoteFile", "RunEvent", "Submitted"]
