"""What is kept of one layer, and what makes it. It knows no metric, file or device."""
