"""Alignment inside a training loop: differentiable losses and streaming CKA."""
