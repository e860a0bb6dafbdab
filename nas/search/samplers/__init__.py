"""Samplers of a search: their registry, their base class, and the built-in ones."""
