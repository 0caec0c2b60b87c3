"""A Flower app that runs a Sealora plan."""
