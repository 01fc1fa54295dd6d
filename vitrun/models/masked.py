"""A vision transformer that tells what its corrupted patches showed (arXiv 2010.11929, section 4.6)."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from vitrun.models.build import grid_side, init_weights
from vitrun.models.vit import ViT
from vitrun.recipes import ViT as Row

UNCHANGED, MASKED = -2, -1  # what stands at a patch: itself, untold; the mask token; else the place of the patch there
HEAD_MODULES = (
    "head",
    "pre_logits",
    "attn_pool",
)  # what reads the tokens of the network that it becomes, untrained here


class MaskedViT(ViT):
    """[B, 3, R, R] and a corruption [B, N] of its patches -> what it tells of each [B, N, ``outputs``].

    It is the ViT that it becomes, with a head of no classes, and two things that are dropped then: the mask token, put
    in the place of an embedded patch before positions are added and the class token set before them (the paper does
    not say; as BERT and transformers), and one linear layer over the normed tokens, the class token's left out.
    """

    def __init__(self, row: Row, outputs: int, side: int):
        super().__init__(replace(row, pre_logits=False), 0, side)
        self.mask_token = nn.Parameter(torch.empty(1, 1, row.width))
        self.decoder = nn.Linear(row.width, outputs)
        for name in HEAD_MODULES:
            if hasattr(self, name):
                getattr(self, name).requires_grad_(False)

    def forward(self, images: Tensor, corruption: Tensor) -> Tensor:
        """[B, 3, R, R], [B, N] -> [B, N, O]."""
        x = self.prepare_tokens(self.corrupt(self.patch_embed(images), corruption))
        for layer in range(self.row.depth):
            x = self.run_layer(layer, x)
        return self.decoder(self.norm(x[:, self.prefix :]))

    def corrupt(self, patches: Tensor, corruption: Tensor) -> Tensor:
        """Embedded patches [B, N, D] with what ``corruption`` [B, N] puts in their places."""
        own = torch.arange(corruption.shape[1], device=corruption.device)
        sources = torch.where(corruption < 0, own, corruption)
        moved = patches.gather(1, sources[:, :, None].expand_as(patches))
        return torch.where((corruption == MASKED)[:, :, None], self.mask_token.to(moved.dtype), moved)


def build_masked(model: Row, outputs: int, res: int) -> MaskedViT:
    """The network with its weights drawn as a ViT's, its mask token as its positions, its decoder zeros as a head."""
    with torch.device("meta"):
        network = MaskedViT(model, outputs, grid_side(model, res))
    network.to_empty(device=torch.get_default_device())
    init_weights(network)
    nn.init.normal_(network.mask_token, std=0.02)
    for layer in (network.decoder, network.head):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    return network
