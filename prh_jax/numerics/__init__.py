"""Array functions without knowledge of features, sketches or metrics."""
