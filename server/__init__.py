"""The coordinator: the round loop, cohorts and checkpoints."""
