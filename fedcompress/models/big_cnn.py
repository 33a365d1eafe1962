"""big-cnn: three wide convolutions."""

from fedcompress.models.convolutional import ConvNet


class BigCNN(ConvNet):
    """19,178 parameters and 512 features on 28x28x1 with 10 classes."""

    filters = (16, 32, 32)
