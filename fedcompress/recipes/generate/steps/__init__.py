"""The steps of the chain, one file each: a function that does one, given what those before it left."""
