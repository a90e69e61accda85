"""Samples in one order: pictures, texts and ids."""
