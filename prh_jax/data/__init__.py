"""Feature stores that ship with the package."""

from pathlib import Path

SHIPPED = Path(__file__).parent / "emoji_1024"
"""Folder of stores made from the built-in data set emoji_1024; see the NOTICE in it."""

SELF_TEST = Path(__file__).parent / "self_test"
"""Folder of features and what independent programs score them, for `prh doctor`."""
