"""Talking to a running platform: `AsyncClient`, and `Client`, its blocking facade."""

from mwfs.client.async_client import AsyncClient
from mwfs.client.blocking import Client
from mwfs.client.outputs import RemoteFile
from mwfs.client.submissions import Submitted

__all__ = ["AsyncClient", "Client", "RemoteFile", "Submitted"]
