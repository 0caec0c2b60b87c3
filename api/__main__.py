"""`python -m sealora` is the `sealora` command."""

from sealora.cli.main import main

main()
