"""Built-in data sets, one module each: `fashion_mnist.py` is `dataset = "fashion-mnist"`."""
