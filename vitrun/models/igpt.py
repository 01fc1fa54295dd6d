"""ImageGPT (Chen et al. 2020, "Generative Pretraining from Pixels"): a transformer that reads the colours of pixels.

As the published code (openai/image-gpt, src/model.py): pre-norm blocks with root-mean-square norm, positions learned
in raster order, and an output layer of its own, not tied to the embedding of colours.
"""

from collections.abc import Iterator
from math import ceil
from typing import cast

import torch
from torch import Tensor, nn

from vitrun.models.network import Network
from vitrun.models.pixel_blocks import PixelBlock
from vitrun.models.pixel_sampler import PixelSampler
from vitrun.models.vit import Head
from vitrun.recipes import IGpt as Row


class IGpt(Network):
    """[B, 3, R, R] -> logits of classes [B, C], by the mean over pixels of the last norm.

    The tokens are the colours of the N = R * R pixels, row by row, or with ``row.start`` a start token and the pixels
    but the last, so that the features of a causal network predict the next colour. ``lm_head`` is trained only where
    colours are predicted (:meth:`train_colours`).
    """

    row: Row
    colours: Tensor

    def __init__(self, row: Row, classes: int, side: int):
        super().__init__()
        self.row, self.side, self.prefix = row, side, 0
        self.register_buffer("colours", torch.empty(row.colours, 3))
        self.colour_embed = nn.Embedding(row.colours, row.width)
        if row.start:
            self.start = nn.Parameter(torch.empty(1, 1, row.width))
        self.pos_embed = nn.Parameter(torch.empty(1, side**2, row.width))
        self.blocks = nn.ModuleList(PixelBlock(row) for _ in range(row.depth))
        self.norm = nn.RMSNorm(row.width, row.epsilon)
        self.lm_head = nn.Linear(row.width, row.colours, bias=False).requires_grad_(False)
        self.head = Head(row.width, classes)
        self.predicts_colours = False

    def train_colours(self) -> None:
        """Let :meth:`forward` return the logits of colours too while the network is in training mode."""
        self.predicts_colours = True
        self.lm_head.requires_grad_(True)

    def forward(self, images: Tensor) -> Tensor:
        """Map [B, 3, R, R] to [B, C]; in training after :meth:`train_colours` to a tuple.

        The tuple is the logits [B, C], those of each pixel's colour [B, N, K], and the colours [B, N].
        """
        if not (self.predicts_colours and self.training):
            return super().forward(images)
        ids = self.quantize(images)
        x = self.encode(ids)
        return self.head(x.mean(1)), self.lm_head(x), ids  # type: ignore[return-value]  # documented above

    def pooled(self, images: Tensor) -> Tensor:
        """Map [B, 3, R, R] to [B, D]."""
        return self.encode(self.quantize(images)).mean(1)

    def predict_colours(self, images: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the logits of each pixel's colour, [B, N, K], and the colours, [B, N], of images [B, 3, R, R].

        ``hidden`` [B, N] says which pixels are not to be seen; they are given as a position alone.
        """
        ids = self.quantize(images)
        return self.lm_head(self.encode(ids, hidden)), ids

    def encode(self, ids: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Map the colours [B, N] of images to normed features [B, N, D]."""
        x = self.embed_colours(ids, hidden)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def embed(self, images: Tensor) -> Tensor:
        """Map [B, 3, R, R] to tokens of the first layer [B, N, D]."""
        return self.embed_colours(self.quantize(images))

    def embed_colours(self, ids: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Map colours [B, N] to tokens [B, N, D]."""
        x = self.colour_embed(ids)
        if hidden is not None:
            x = x.masked_fill(hidden[:, :, None], 0.0)  # no mask token, as in the published code
        if self.row.start:
            x = torch.cat([self.start.expand(len(x), -1, -1).to(x.dtype), x[:, :-1]], 1)
        return x + self.pos_embed[:, : x.shape[1]]

    def run_layer(self, layer: int, x: Tensor) -> Tensor:
        """Map [B, N, D] to [B, N, D]."""
        return self.blocks[layer](x)

    @torch.no_grad()
    def quantize(self, images: Tensor) -> Tensor:
        """Return the index of the nearest colour of each pixel: [B, 3, R, R] in [-1, 1] -> [B, N]."""
        pixels, colours = images.float().flatten(2)[..., None], self.colours.float()  # [B, 3, N, 1], [K, 3]
        distances = sum((pixels[:, channel] - colours[:, channel]).square() for channel in range(3))
        return cast(Tensor, distances).argmin(2)

    def paint(self, ids: Tensor) -> Tensor:
        """Return the images of colours: [B, N] -> uint8 [B, R, R, 3]."""
        pixels = ((self.colours[ids] + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        return pixels.unflatten(1, (self.side, self.side))

    @torch.inference_mode()
    def sample(self, given: Tensor, draws: Tensor, temperature: float, top: int = 0) -> Iterator[Tensor]:
        """Yield the colour [B] of each pixel in raster order, first the ``given`` [B, G], then those sampled.

        Only a causal network with a start token can sample. Keys and values of earlier pixels are cached, so that a
        pixel costs one token.

        Args:
            draws: Random numbers in [0, 1) that decide on each pixel's colour, [B, N] in float64.
            temperature: Divides the logits; 0 takes the likeliest colour.
            top: Number of likeliest colours to sample from; 0 for all.
        """
        B, N = draws.shape
        given = given[:, : N - 1]
        yield from given.unbind(1)
        sampler = PixelSampler(cast(list[PixelBlock], self.blocks), (self.norm, self.lm_head), B, N)
        x = torch.cat([self.start.expand(B, -1, -1), self.colour_embed(given)], 1)
        for position in range(given.shape[1], N):
            logits = sampler.append(x + self.pos_embed[:, position + 1 - x.shape[1] : position + 1])
            ids = choose(logits.double(), draws[:, position], temperature, top)
            yield ids
            x = self.colour_embed(ids)[:, None]


def choose(logits: Tensor, draws: Tensor, temperature: float, top: int) -> Tensor:
    """Return a colour for each image: logits [B, K], random numbers [B] in [0, 1) -> [B]."""
    if not temperature:
        return logits.argmax(1)
    if 0 < top < logits.shape[1]:
        logits = logits.masked_fill(logits < logits.topk(top).values[:, -1:], -torch.inf)
    cumulative = (logits / temperature).softmax(1).cumsum(1)
    return torch.searchsorted(cumulative, draws[:, None] * cumulative[:, -1:], right=True)[:, 0].clamp(
        max=logits.shape[1] - 1
    )


def regular_colours(number: int) -> Tensor:
    """Return colours [K, 3] in [-1, 1] that fill the cube of colours evenly: for 512 the centres of 8 by 8 by 8."""
    side = ceil(round(number ** (1 / 3), 6))
    line = (2 * torch.arange(side, device="cpu") + 1) / side - 1
    chosen = torch.linspace(0, side**3 - 1, number, dtype=torch.float64, device="cpu").round().long()
    return torch.cartesian_prod(line, line, line)[chosen]


@torch.no_grad()
def init_pixels(network: IGpt) -> None:
    """Initialize as the published code: normal weights, and 0 for the output layer; colours evenly spaced."""
    row = network.row
    network.colours.copy_(regular_colours(row.colours))
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.RMSNorm):
            nn.init.ones_(module.weight)
    for block in cast(list[PixelBlock], network.blocks):
        nn.init.normal_(block.attn.qkv.weight, std=row.width**-0.5)
        nn.init.normal_(block.attn.proj.weight, std=(row.width * row.depth) ** -0.5)
    nn.init.normal_(network.colour_embed.weight, std=0.02)
    nn.init.normal_(network.pos_embed, std=0.01)
    if row.start:
        nn.init.normal_(network.start, std=0.02)
    nn.init.zeros_(network.lm_head.weight)


class PixelPredictor(IGpt):
    """[B, 3, R, R] and the hidden pixels [B, N], or [B, 0] -> logits of colours [B, N, K], and the colours [B, N]."""

    def forward(self, images: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Map [B, 3, R, R], [B, N] or [B, 0] to [B, N, K] and [B, N]."""
        return self.predict_colours(images, hidden if hidden.shape[1] else None)


def build_pixel_predictor(row: Row, res: int) -> PixelPredictor:
    """Return a network without classes, initialized as published, with evenly spaced colours."""
    with torch.device("meta"):
        network = PixelPredictor(row, 0, res)
    network.to_empty(device=torch.get_default_device())
    init_pixels(network)
    network.lm_head.requires_grad_(True)
    network.head.requires_grad_(False)
    return network
