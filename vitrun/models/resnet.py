"""Bottleneck ResNets with group norm and weight standardisation: the trunk of the hybrids, and BiT.

Modules are named as in timm's ``ResNetV2``. The arithmetic is that of vit_jax/models_resnet.py and big_transfer, from
which timm's logits differ by 1e-4.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from vitrun.models.network import Network, lay_out_images
from vitrun.models.noise import SkippedBlock, set_noise
from vitrun.recipes import BiT as Row
from vitrun.recipes.model_limits import EXPANSION

GROUPS = 32
TINY = 1e-30  # the border's value: onnxruntime would merge a border of zeros into the max-pool, and ignore it


class StdConv(nn.Conv2d):
    """A convolution whose kernels are standardised to mean 0 and deviation 1, without bias.

    With ``same``, as in hybrids, it has XLA's SAME padding and adds 1e-5 to the deviation (vit_jax); without it pads
    evenly and adds 1e-10 to the variance (big_transfer).
    """

    def __init__(self, channels: int, out: int, kernel: int, stride: int = 1, same: bool = False):
        super().__init__(channels, out, kernel, stride, bias=False)
        self.same = same
        margin = max(kernel - stride, 0) if same else 2 * (kernel // 2)
        self.before, self.after = margin // 2, margin - margin // 2

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, c, h, h] to [B, out, h/stride, h/stride]."""
        if self.before == self.after:
            return functional.conv2d(x, self.standardized_weight(), None, self.stride, self.before)
        return functional.conv2d(
            functional.pad(x, (self.before, self.after) * 2), self.standardized_weight(), None, self.stride
        )

    def standardized_weight(self) -> Tensor:
        """Return the standardised kernels [out, c, k, k]."""
        variance, mean = torch.var_mean(self.weight, (1, 2, 3), correction=0, keepdim=True)
        deviation = variance.sqrt() + 1e-5 if self.same else (variance + 1e-10).sqrt()
        return (self.weight - mean) / deviation


class Stem(nn.Module):
    """The 7x7 convolution and 3x3 max-pool of the image, each with stride 2; hybrids have a norm in between."""

    def __init__(self, channels: int, same: bool, border: str):
        super().__init__()
        self.conv = StdConv(3, channels, 7, 2, same)
        if same:
            self.norm = nn.GroupNorm(GROUPS, channels, 1e-6)
        self.border = border

    def forward(self, images: Tensor) -> Tensor:
        """Map [B, 3, R, R] to [B, c, R/4, R/4]."""
        x = self.conv(lay_out_images(images))
        if self.conv.same:
            return functional.max_pool2d(functional.pad(self.norm(x).relu(), (0, 1, 0, 1)), 3, 2)
        if self.border == "zero":
            return functional.max_pool2d(functional.pad(x, (1, 1, 1, 1), value=TINY), 3, 2)
        return functional.max_pool2d(x, 3, 2, 1)


class Shortcut(nn.Module):
    """The 1x1 convolution that gives a unit's input the shape of its output, with a norm if ``same``."""

    def __init__(self, channels: int, out: int, stride: int, same: bool):
        super().__init__()
        self.conv = StdConv(channels, out, 1, stride, same)
        self.norm = nn.GroupNorm(GROUPS, out, 1e-6) if same else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, c, h, h] to [B, out, h/stride, h/stride]."""
        return self.norm(self.conv(x))


class PostActBottleneck(nn.Module):
    """A bottleneck with the activation last, as in hybrids (vit_jax/models_resnet.py)."""

    def __init__(self, channels: int, middle: int, stride: int):
        super().__init__()
        out = EXPANSION * middle
        self.downsample = Shortcut(channels, out, stride, True) if channels != out or stride > 1 else None
        self.conv1 = StdConv(channels, middle, 1, same=True)
        self.norm1 = nn.GroupNorm(GROUPS, middle, 1e-6)
        self.conv2 = StdConv(middle, middle, 3, stride, same=True)
        self.norm2 = nn.GroupNorm(GROUPS, middle, 1e-6)
        self.conv3 = StdConv(middle, out, 1, same=True)
        self.norm3 = nn.GroupNorm(GROUPS, out, 1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, c, h, h] to [B, 4 middle, h/stride, h/stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.norm1(self.conv1(x)).relu()
        x = self.norm2(self.conv2(x)).relu()
        return (self.norm3(self.conv3(x)) + shortcut).relu()


class PreActBottleneck(SkippedBlock):
    """A bottleneck with norm and activation first (big_transfer/bit_pytorch/models.py)."""

    def __init__(self, channels: int, middle: int, stride: int):
        super().__init__()
        out = EXPANSION * middle
        self.downsample = Shortcut(channels, out, stride, False) if channels != out or stride > 1 else None
        self.norm1 = nn.GroupNorm(GROUPS, channels)
        self.conv1 = StdConv(channels, middle, 1)
        self.norm2 = nn.GroupNorm(GROUPS, middle)
        self.conv2 = StdConv(middle, middle, 3, stride)
        self.norm3 = nn.GroupNorm(GROUPS, middle)
        self.conv3 = StdConv(middle, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, c, h, h] to [B, 4 middle, h/stride, h/stride]."""
        first = self.norm1(x).relu()
        shortcut = x if self.downsample is None else self.downsample(first)
        x = self.conv2(self.norm2(self.conv1(first)).relu())
        return self.drop_path(self.conv3(self.norm3(x).relu())) + shortcut


class Stage(nn.Module):
    """Units at one scale; the first has the ``stride``."""

    def __init__(self, unit: type[nn.Module], channels: int, middle: int, units: int, stride: int):
        super().__init__()
        first = unit(channels, middle, stride)
        self.blocks = nn.Sequential(first, *[unit(EXPANSION * middle, middle, 1) for _ in range(units - 1)])

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, c, h, h] to [B, 4 middle, h/stride, h/stride]."""
        return self.blocks(x)


def build_stages(unit: type[nn.Module], channels: int, blocks: tuple[int, ...]) -> nn.Sequential:
    """Return one stage of ``blocks[i]`` units for each i; the middle channels double from ``channels`` on."""
    stages, width = nn.Sequential(), channels
    for index, units in enumerate(blocks):
        stages.append(Stage(unit, width, channels * 2**index, units, 1 if index == 0 else 2))
        width = EXPANSION * channels * 2**index
    return stages


class ResNet(nn.Module):
    """The trunk of a hybrid: [B, 3, R, R] -> [B, channels, R/stride, R/stride]."""

    def __init__(self, stem: int, blocks: tuple[int, ...]):
        super().__init__()
        self.channels = EXPANSION * stem * 2 ** (len(blocks) - 1) if blocks else stem
        self.stem = Stem(stem, True, "none")
        self.stages = build_stages(PostActBottleneck, stem, blocks)

    def forward(self, images: Tensor) -> Tensor:
        """Map [B, 3, R, R] to [B, channels, R/stride, R/stride]."""
        return self.stages(self.stem(images))


class BiT(Network):
    """The ResNet of Big Transfer (arXiv 1912.11370): [B, 3, R, R] -> logits [B, C]."""

    row: Row

    def __init__(self, row: Row, classes: int):
        super().__init__()
        self.row = row
        width = int(64 * row.width_factor)
        channels = EXPANSION * width * 2 ** (len(row.blocks) - 1)
        self.stem = Stem(width, False, row.border)
        self.stages = build_stages(PreActBottleneck, width, row.blocks)
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.dropout = nn.Dropout(row.dropout)
        self.head = nn.Linear(channels, classes)
        set_noise(self, row)

    def pooled(self, images: Tensor) -> Tensor:
        """Map [B, 3, R, R] to [B, D]."""
        return self.dropout(self.norm(self.stages(self.stem(images))).relu().mean((2, 3)))
