"""Attacks on what a run leaves: who was among the training examples of a generator."""
