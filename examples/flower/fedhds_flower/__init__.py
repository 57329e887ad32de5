"""Instruction tuning on about 1% of each client's records, with Flower."""
