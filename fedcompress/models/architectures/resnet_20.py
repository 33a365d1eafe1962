"""resnet-20: the network of He et al. 2016 for CIFAR, nine basic blocks of 16, 32 and 64 channels."""

from fedcompress.models.residual import ResNet


class ResNet20(ResNet):
    """272,474 parameters and 64 features on 32x32x3 with 10 classes, normalised in groups."""

    blocks = 3
    filters = (16, 32, 64)
