"""Conditional GANs small enough to send: clients train them, and their samples become public data."""
