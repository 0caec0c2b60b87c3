"""Holds the process that trains to what site.toml grants it."""

import resource

from sealora.client.site_settings import ResourceSettings
from sealora.protocol.errors import UsageError

GIB = 2**30


def limit_memory(settings: ResourceSettings) -> None:
    """Limit this process's own memory (RLIMIT_DATA, as Linux counts it); 0 leaves it as it is.

    What exceeds it fails as out of memory, and the site refuses the round. Memory on a GPU does not count.
    Raises UsageError if the system grants no such limit.
    """
    if not settings.memory:
        return
    wanted = int(settings.memory * GIB)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard not in (resource.RLIM_INFINITY, -1):
        wanted = min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (wanted, wanted))
    except (OSError, ValueError):
        raise UsageError(
            f"memory cannot be limited to {settings.memory:g} GiB here.", "Set resources.memory = 0."
        ) from None
