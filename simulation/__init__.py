"""Many sites on one machine: the in-process fleet, scripted faults, partitions."""
