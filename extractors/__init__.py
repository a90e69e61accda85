"""From (data set, model) to feature stores, in PyTorch; of prh_jax it uses the feature store alone."""
