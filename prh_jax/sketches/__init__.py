"""Sketches of one layer, and the sketchers that make them. It knows no metric, file or device."""
