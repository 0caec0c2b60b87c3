"""The run contract: loading, checking, resolving and hashing plans."""
