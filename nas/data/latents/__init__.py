"""Clips that were encoded beforehand."""
