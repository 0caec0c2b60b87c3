"""Wire messages, codec and sessions: all that both sides of a round agree on. No torch, sockets or files."""
