"""mini-cnn: the smallest network here, for microcontrollers."""

from fedcompress.models.convolutional import ConvNet


class MiniCNN(ConvNet):
    """2,158 parameters and 196 features on 28x28x1 with 10 classes."""

    filters = (4, 4)
