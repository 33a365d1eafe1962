"""Client strategies, one file each; the file's name is the strategy's name."""
