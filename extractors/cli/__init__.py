"""The commands `prh extract`, `prh import` and the extractors' part of `prh finish`."""
