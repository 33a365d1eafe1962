"""Value types by name: one file each, and nothing else."""
