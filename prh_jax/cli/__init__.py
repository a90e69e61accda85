"""The command `prh`."""
