"""Lines in colour where a terminal shows them."""


def print_red(line: str) -> None:
    """Print a line that nobody should overlook, in bold red on a terminal; it is never read as markup."""
    # Imported here because most commands of a site print nothing in colour.
    from rich.console import Console
    from rich.text import Text

    Console(highlight=False).print(Text(line, style="bold red"), soft_wrap=True)
