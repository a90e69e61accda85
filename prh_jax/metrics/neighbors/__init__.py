"""Metrics of nearest neighbours: one family with shared kernels."""
