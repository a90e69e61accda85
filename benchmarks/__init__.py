"""Throughput beside accuracy: kernels, neighbour search and whole studies, against the reference and plain torch."""
