"""The code bundles of the registered versions that submissions name most: a version never changes, so the catalogue is asked once while it is in use."""

from collections import OrderedDict
from typing import Final

from mwfs_chassis.errors import NotFound

from .catalogue.store import CatalogueStore

_MAX_KNOWN: Final = 1024


class KnownVersions:
    """Of all teams. Remembers those that were named last."""

    def __init__(self, catalogue: CatalogueStore, *, most: int = _MAX_KNOWN) -> None:
        self._catalogue = catalogue
        self._most = most
        self._bundles: OrderedDict[tuple[str, str, str], str] = OrderedDict()

    async def bundle_of(self, team: str, workflow: str, digest: str) -> str:
        """The digest of its code bundle, empty when it has none. Raises NotFound."""
        key = (team, workflow, digest)
        bundle = self._bundles.get(key)
        if bundle is None:
            version = await self._catalogue.get_version(*key)
            if version is None:
                raise NotFound(f"The workflow {workflow} has no version {digest}.", "Register it with `mwfs register`.")
            bundle = self._bundles[key] = version.bundle_digest
            if len(self._bundles) > self._most:
                self._bundles.popitem(last=False)
        self._bundles.move_to_end(key)
        return bundle
