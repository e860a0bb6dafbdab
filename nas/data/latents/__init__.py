"""Clips that were encoded in advance."""
