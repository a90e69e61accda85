"""Analyses in addition to a study: intervals, curves, trends, neighbour galleries."""
