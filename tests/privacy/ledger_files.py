"""What stands in a ledger's file, read beside whoever writes it."""

from pathlib import Path

from sealora.privacy.chain import read_chain
from sealora.privacy.ledger import LEDGER


def file_head(path: Path) -> bytes:
    """The head of the file, every link checked."""
    *_, (_, head) = read_chain(path, LEDGER)
    return head
