"""Networks as extractors: which library they come from, and how their states are pooled."""
