"""Metrics that judge a map between two layers on samples that it was not fitted on."""
