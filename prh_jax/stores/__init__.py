"""Feature stores in Zarr: read, written, paired and packed. It knows no JAX."""
