"""What training does to the weights, one compression per file; the file's name is its name."""
