"""Samplers of a search.

`factory` is the base class of all of them and `choice` their registry; `builtin` and `exhaustive` are those that this
project brings; `lazy` makes a sampler when its first trial is known.
"""
