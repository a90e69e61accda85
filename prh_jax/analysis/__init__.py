"""What is computed beside a study: intervals, curves, trends, neighbour galleries."""
