"""Writes docs/families.md: `cd tests && PYTHONPATH=.. python -m field.sweep`."""
