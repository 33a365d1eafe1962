"""What a recipe can do to a model, one method per file; the file's name is its name."""
