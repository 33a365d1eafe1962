"""resnet-8: three basic blocks of 16, 32 and 64 channels."""

from fedcompress.models.residual import ResNet


class ResNet8(ResNet):
    """78,042 parameters and 64 features on 32x32x3 with 10 classes, normalised in groups."""

    blocks = 1
    filters = (16, 32, 64)
