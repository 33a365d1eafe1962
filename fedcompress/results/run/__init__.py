"""What a run writes, and where."""
