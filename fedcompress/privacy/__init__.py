"""Differential privacy: what releases of data cost, together, and the noise that makes them cost that little."""
