"""Clipping, noise, privacy events, ledger and accountants."""
