"""What sites send, and what the coordinator does with an aggregate."""
