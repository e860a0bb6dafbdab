"""Judging generated clips: metrics of clips, a classifier, a reader by rule, and the score of a model."""
