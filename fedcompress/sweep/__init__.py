"""Runs of a sweep: one after the other, or side by side."""
