"""Data that ship, and the programs that built them."""
