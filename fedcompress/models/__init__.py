"""Architectures, one per file; the file's name is its name."""
