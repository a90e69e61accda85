"""Labelled scores and calibrations: loaded, reduced, merged, exported. It knows no JAX."""
