"""medium-cnn: three convolutions."""

from fedcompress.models.convolutional import ConvNet


class MediumCNN(ConvNet):
    """6,138 parameters and 256 features on 28x28x1 with 10 classes."""

    filters = (8, 16, 16)
