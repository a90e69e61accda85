"""Layers streamed into sketches, sketches scored in tiles, within a budget. It names no metric."""
