"""Compressions by name: one file each, and nothing else."""
