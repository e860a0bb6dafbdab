"""The results of a study: its evaluations, their front, and the choice of one architecture."""
