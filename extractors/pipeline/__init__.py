"""Models run over samples, block by block, into feature stores."""
