"""Variants and seeds: every combination is a run of its own; what is finished is not run again."""
