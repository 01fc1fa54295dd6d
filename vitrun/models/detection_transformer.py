"""Encoder and decoder of DETR (arXiv 2005.12872): post-norm, with positions added to queries and keys in each layer."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from vitrun.models.positions import sine_positions
from vitrun.recipes import Detector as Row


class MixedAttention(nn.Module):
    """Multi-head attention whose queries, keys and values come from different tensors."""

    def __init__(self, row: Row):
        super().__init__()
        self.heads, self.rate = row.heads, row.dropout
        self.q = nn.Linear(row.width, row.width)
        self.k = nn.Linear(row.width, row.width)
        self.v = nn.Linear(row.width, row.width)
        self.proj = nn.Linear(row.width, row.width)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, visible: Tensor | None = None) -> Tensor:
        """Map [B, Q, D], [B, N, D], [B, N, D] to [B, Q, D]; attend to ``visible`` [B, N] keys, or to all."""
        q, k, v = (
            layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for layer, x in ((self.q, queries), (self.k, keys), (self.v, values))
        )
        mask = None if visible is None else visible[:, None, None]
        rate = self.rate if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=rate)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class EncoderLayer(nn.Module):
    """Self-attention and an MLP, each followed by a norm."""

    def __init__(self, row: Row):
        super().__init__()
        self.attn = MixedAttention(row)
        self.norm1 = nn.LayerNorm(row.width)
        self.fc1 = nn.Linear(row.width, row.mlp)
        self.fc2 = nn.Linear(row.mlp, row.width)
        self.norm2 = nn.LayerNorm(row.width)
        self.dropout = nn.Dropout(row.dropout)

    def forward(self, x: Tensor, positions: Tensor, visible: Tensor | None) -> Tensor:
        """Map [B, N, D] to [B, N, D]."""
        placed = x + positions
        x = self.norm1(x + self.dropout(self.attn(placed, placed, x, visible)))
        return self.norm2(x + self.transform(x))

    def transform(self, x: Tensor) -> Tensor:
        """Apply the MLP: [B, N, D] -> [B, N, D]."""
        return self.dropout(self.fc2(self.dropout(functional.relu(self.fc1(x)))))


class DecoderLayer(EncoderLayer):
    """Self-attention of the queries, attention to the image, and an MLP, each followed by a norm."""

    def __init__(self, row: Row):
        super().__init__(row)
        self.cross_attn = MixedAttention(row)
        self.norm_cross = nn.LayerNorm(row.width)

    def decode(self, x: Tensor, queries: Tensor, image: tuple[Tensor, Tensor], visible: Tensor | None) -> Tensor:
        """Map [B, Q, D] to [B, Q, D]; ``image`` is the image's tokens with positions and without, both [B, N, D]."""
        placed = x + queries
        x = self.norm1(x + self.dropout(self.attn(placed, placed, x)))
        x = self.norm_cross(x + self.dropout(self.cross_attn(x + queries, *image, visible)))
        return self.norm2(x + self.transform(x))


class DetectionTransformer(nn.Module):
    """Feature map [B, C, h, w] -> state of each query after each layer of the decoder, [B, L, Q, D]."""

    def __init__(self, row: Row, channels: int):
        super().__init__()
        self.width = row.width
        self.proj = nn.Conv2d(channels, row.width, 1)
        self.queries = nn.Parameter(torch.empty(row.tokens, row.width))
        self.encoder = nn.ModuleList(EncoderLayer(row) for _ in range(row.encoder))
        self.decoder = nn.ModuleList(DecoderLayer(row) for _ in range(row.decoder))
        self.norm = nn.LayerNorm(row.width)  # before the heads; the next layer gets the state without it

    def forward(self, maps: Tensor, padding: Tensor | None = None) -> Tensor:
        """Map [B, C, h, w] to [B, L, Q, D]; ``padding`` [B, H, W] is true where a pixel was added around an image."""
        visible = ~shrink_mask(padding, maps) if padding is not None else None
        places = maps.new_ones(maps[:, 0].shape, dtype=torch.bool) if visible is None else visible
        x = self.proj(maps).flatten(2).transpose(1, 2)
        positions = sine_positions(places, self.width).to(x.dtype)
        keys = None if visible is None else visible.flatten(1)
        for layer in self.encoder:
            x = layer(x, positions, keys)
        image, queries = (x + positions, x), self.queries.expand(x.shape[0], -1, -1)
        states, state = [], torch.zeros_like(queries)
        for layer in self.decoder:
            assert isinstance(layer, DecoderLayer)
            state = layer.decode(state, queries, image, keys)
            states.append(self.norm(state))
        return torch.stack(states, 1)


def shrink_mask(padding: Tensor, maps: Tensor) -> Tensor:
    """Return which positions of a feature map are padding, by the nearest pixel: [B, H, W] -> [B, h, w]."""
    return functional.interpolate(padding[:, None].float(), maps.shape[-2:])[:, 0].bool()


@torch.no_grad()
def init_detection_transformer(network: DetectionTransformer) -> None:
    """Initialize as DETR's code: matrices Xavier-uniform, those of queries, keys and values as one; normal queries."""
    nn.init.normal_(network.queries)
    for layer in [*network.encoder, *network.decoder]:
        for module in layer.modules():
            if isinstance(module, MixedAttention):
                for part in (module.q, module.k, module.v):
                    nn.init.xavier_uniform_(part.weight, 0.5**0.5)
                    nn.init.zeros_(part.bias)
                nn.init.xavier_uniform_(module.proj.weight)
                nn.init.zeros_(module.proj.bias)
            elif isinstance(module, EncoderLayer):
                nn.init.xavier_uniform_(module.fc1.weight)
                nn.init.xavier_uniform_(module.fc2.weight)
