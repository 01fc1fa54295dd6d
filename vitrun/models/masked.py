"""A vision transformer that predicts the content of corrupted patches (arXiv 2010.11929, section 4.6)."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from vitrun.models.build import grid_side, init_weights
from vitrun.models.vit import ViT
from vitrun.recipes import ViT as Row

# Values of ``corruption`` for a patch: unchanged, or replaced by the mask token; else the index of its replacement.
UNCHANGED, MASKED = -2, -1
HEAD_MODULES = ("head", "pre_logits", "attn_pool")  # of the ViT that it becomes; not trained here


class MaskedViT(ViT):
    """Images [B, 3, R, R] and the corruption [B, N] of their patches -> a prediction for each, [B, N, ``outputs``].

    It is the ViT that fine-tuning uses, with a head of no classes and two parts that fine-tuning drops: the mask token,
    which replaces an embedded patch before the class token and positions are added (the paper does not say; as in BERT
    and transformers), and a linear layer on all normed tokens except the class token.
    """

    def __init__(self, row: Row, outputs: int, side: int):
        super().__init__(replace(row, pre_logits=False), 0, side)
        self.mask_token = nn.Parameter(torch.empty(1, 1, row.width))
        self.decoder = nn.Linear(row.width, outputs)
        for name in HEAD_MODULES:
            if hasattr(self, name):
                getattr(self, name).requires_grad_(False)

    def forward(self, images: Tensor, corruption: Tensor) -> Tensor:  # type: ignore[override]  # it needs both
        """Map [B, 3, R, R], [B, N] to [B, N, O]."""
        x = self.prepare_tokens(self.corrupt(self.patch_embed(images), corruption))
        for layer in range(self.row.depth):
            x = self.run_layer(layer, x)
        return self.decoder(self.norm(x[:, self.prefix :]))

    def corrupt(self, patches: Tensor, corruption: Tensor) -> Tensor:
        """Replace embedded patches [B, N, D] as ``corruption`` [B, N] says."""
        unmoved = torch.arange(corruption.shape[1], device=corruption.device)
        sources = torch.where(corruption < 0, unmoved, corruption)
        moved = patches.gather(1, sources[:, :, None].expand_as(patches))
        return torch.where((corruption == MASKED)[:, :, None], self.mask_token.to(moved.dtype), moved)


def build_masked(model: Row, outputs: int, res: int) -> MaskedViT:
    """Return a network initialized as a ViT: the mask token like learned positions, the decoder with 0 like a head."""
    with torch.device("meta"):
        network = MaskedViT(model, outputs, grid_side(model, res))
    network.to_empty(device=torch.get_default_device())
    init_weights(network)
    nn.init.normal_(network.mask_token, std=0.02)
    for layer in (network.decoder, network.head):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    return network
