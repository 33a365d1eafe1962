"""Trackers: a run's scalars in TensorBoard, Weights & Biases or MLflow, besides its directory; off by default."""
