"""fedcompress: federated learning with compressed models, simulated and measured."""

__version__ = "0.1.0"
