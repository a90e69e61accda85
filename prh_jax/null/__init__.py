"""The mathematics of chance: orders, closed-form moments, p-values. It knows no metric and no file."""
