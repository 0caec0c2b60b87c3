"""Many sites on one machine or one Ray cluster: fleets, scripted faults, partitions."""
