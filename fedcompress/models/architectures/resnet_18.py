"""resnet-18: eight basic blocks of 64 to 512 channels, with a stem for small images."""

from fedcompress.models.residual import ResNet


class ResNet18(ResNet):
    """11,173,962 parameters and 512 features on 32x32x3 with 10 classes, normalised in groups."""

    blocks = 2
    filters = (64, 128, 256, 512)
