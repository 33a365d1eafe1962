"""`fedcompress generate`: the chain that makes a generator small, and private, step by step."""
