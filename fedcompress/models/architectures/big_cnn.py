"""big-cnn: three wide convolutions."""

from fedcompress.models.convolutional import ConvNet


class BigCNN(ConvNet):
    """23,946 parameters and 512 features on 28x28x1 with 10 classes."""

    filters = (32, 32, 32)
