"""How examples are divided over clients: one partition per file, called as the file is."""
