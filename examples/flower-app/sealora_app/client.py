"""The ClientApp: Sealora's own, which does the work of whichever site it is asked for."""

from sealora.flower import client_app as app

__all__ = ["app"]
