"""`fedcompress compress`: recipes that train, compress and measure one model, without a federation."""
