"""Lines in colour where a terminal shows them."""

from rich.console import Console
from rich.text import Text


def print_red(line: str) -> None:
    """Print a line that nobody should overlook, in bold red on a terminal; it is never read as markup."""
    Console(highlight=False).print(Text(line, style="bold red"), soft_wrap=True)
