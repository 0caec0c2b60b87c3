"""The `sealora` command, one file per sub-command."""
