"""small-cnn: two convolutions."""

from fedcompress.models.convolutional import ConvNet


class SmallCNN(ConvNet):
    """4,594 parameters and 392 features on 28x28x1 with 10 classes."""

    filters = (8, 8)
