"""The ResNets of CLIP (arXiv 2103.00020, section 2.4): the image towers of its models RN50 to RN50x64.

They have three convolutions and an average pool first, average pools where a ResNet has strides (antialiasing, arXiv
1904.11486), and attention instead of a mean over the last feature map.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from vitrun.models import attention
from vitrun.models.network import Network, lay_out_images
from vitrun.models.resnet import build_stages
from vitrun.models.vit import Head
from vitrun.recipes import ClipResNet as Row
from vitrun.recipes.model_limits import EXPANSION

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)  # of the training images in [0, 1] (OpenAI's code)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class ClipStem(nn.Module):
    """Three 3x3 convolutions, the first with stride 2, and a 2x2 average pool."""

    def __init__(self, width: int):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width // 2, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width // 2)
        self.conv2 = nn.Conv2d(width // 2, width // 2, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width // 2)
        self.conv3 = nn.Conv2d(width // 2, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)

    def forward(self, images: Tensor) -> Tensor:
        """Map [B, 3, R, R] to [B, c, R/4, R/4]."""
        x = self.bn1(self.conv1(images)).relu()
        x = self.bn2(self.conv2(x)).relu()
        return functional.avg_pool2d(self.bn3(self.conv3(x)).relu(), 2)


class ClipBottleneck(nn.Module):
    """A bottleneck whose stride is an average pool after the 3x3 convolution and before that of the shortcut."""

    def __init__(self, channels: int, middle: int, stride: int):
        super().__init__()
        out = EXPANSION * middle
        self.stride = stride
        self.conv1 = nn.Conv2d(channels, middle, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(middle)
        self.conv2 = nn.Conv2d(middle, middle, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(middle)
        self.conv3 = nn.Conv2d(middle, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.downsample = None
        if stride > 1 or channels != out:
            self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, c, h, h] to [B, 4 middle, h/stride, h/stride]."""
        shortcut = x
        if self.downsample is not None:
            shortcut = self.downsample(self.pool(x))
        x = self.bn1(self.conv1(x)).relu()
        x = self.pool(self.bn2(self.conv2(x)).relu())
        return (self.bn3(self.conv3(x)) + shortcut).relu()

    def pool(self, x: Tensor) -> Tensor:
        """Map [B, c, h, h] to [B, c, h/stride, h/stride]."""
        return functional.avg_pool2d(x, self.stride) if self.stride > 1 else x


class MeanQueryPool(nn.Module):
    """Attention from the mean of the places of a feature map, beside them, to all."""

    def __init__(self, width: int, heads: int, features: int):
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.k = nn.Linear(width, width)
        self.v = nn.Linear(width, width)
        self.proj = nn.Linear(width, features)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, N, c], whose first token is the mean, to [B, D]."""
        q, k, v = (
            layer(tokens).unflatten(2, (self.heads, -1)).transpose(1, 2)  # [B, H, 1 or N, c/H]
            for layer, tokens in ((self.q, x[:, :1]), (self.k, x), (self.v, x))
        )
        if attention.fused_is_faster(q):
            mixed = functional.scaled_dot_product_attention(q, k, v)
        else:
            mixed = attention.attention_weights(q, k) @ v
        return self.proj(mixed.flatten(1))


class ClipResNet(Network):
    """[B, 3, R, R] -> logits [B, C]; ``side`` is R / 32, the side of the last feature map."""

    row: Row
    shift: Tensor

    def __init__(self, row: Row, classes: int, side: int):
        super().__init__()
        self.row, self.side = row, side
        channels = 8 * EXPANSION * row.width
        # The colour in [-1, 1] that is zero to the network: its padding is zero after the normalisation of the images
        self.register_buffer("shift", torch.empty(3, 1, 1))
        self.stem = ClipStem(row.width)
        self.stages = build_stages(ClipBottleneck, row.width, row.blocks)
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + side**2, channels))
        self.attn_pool = MeanQueryPool(channels, row.heads, row.features)
        self.head = Head(row.features, classes)

    def pooled(self, images: Tensor) -> Tensor:
        """Map [B, 3, R, R] to [B, D]."""
        x = self.stages(self.stem(lay_out_images(images) - self.shift)).flatten(2).transpose(1, 2)  # [B, N-1, c]
        x = torch.cat([x.mean(1, keepdim=True), x], 1)
        return self.attn_pool(x + self.pos_embed)


@torch.no_grad()
def init_clip_resnet(network: ClipResNet) -> None:
    """Initialize every weight but those of the head as OpenAI's code does."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.Linear):
            module.reset_parameters()
    for module in network.modules():
        if isinstance(module, ClipBottleneck):
            nn.init.zeros_(module.bn3.weight)
    deviation = network.pos_embed.shape[2] ** -0.5
    pool = network.attn_pool
    for table in (network.pos_embed, *(layer.weight for layer in (pool.q, pool.k, pool.v, pool.proj))):
        nn.init.normal_(table, std=deviation)
    network.shift.copy_(2 * torch.tensor(CLIP_MEAN).view(3, 1, 1) - 1)
