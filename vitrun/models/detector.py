"""Networks that find objects: YOLOS (arXiv 2106.00666), and DETR (arXiv 2005.12872) on any body."""

from dataclasses import replace
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from vitrun.errors import UserError
from vitrun.models.detection_transformer import DetectionTransformer, init_detection_transformer
from vitrun.models.network import Network
from vitrun.models.positions import resample_rectangle, sincos2d
from vitrun.models.timm_wrapper import TimmNetwork, wrap_timm_network
from vitrun.models.vit import ViT
from vitrun.recipes import Detector as Row
from vitrun.recipes import Timm
from vitrun.recipes import ViT as ViTRow

BODY = "body."  # what the names of a body's parameters begin with
FROZEN_PARTS = ("conv1.", "bn1.", "layer1.")  # of a ResNet: DETR does not train them


class Detections(NamedTuple):
    """Output of a detector for each of Q queries after each of L layers of the decoder; L = 1 for YOLOS."""

    logits: Tensor  # [B, L, Q, C+1]; the last class is "no object"
    boxes: Tensor  # [B, L, Q, 4]: center x, center y, width and height, relative to the image

    def last(self) -> "Detections":
        """Return the detections after the last layer, with L = 1."""
        return Detections(self.logits[:, -1:], self.boxes[:, -1:])


class TokenViT(ViT):
    """ViT for images of any size, with detection tokens before its own: [B, 3, H, W] -> [B, Q+P+N, D].

    The position table [1, P+N+Q, D] is for images of ``grid`` patches, and resampled for others. With ``mid`` a table
    of the same size is added after each block but the last.
    """

    def __init__(self, row: ViTRow, tokens: int, grid: tuple[int, int], mid: bool):
        head = "gap" if row.head == "map" else row.head  # with a class token if the row has one
        super().__init__(replace(row, positions="none", pre_logits=False, head=head), 0, 1)
        del self.head
        self.tokens, self.grid = tokens, grid
        rows = self.prefix + grid[0] * grid[1] + tokens
        self.pos_embed = nn.Parameter(torch.empty(1, rows, row.width))
        if tokens:
            self.det_token = nn.Parameter(torch.empty(1, tokens, row.width))
        if mid:
            self.mid_pos = nn.Parameter(torch.empty(row.depth - 1, rows, row.width))

    def forward(self, images: Tensor) -> Tensor:
        """Map [B, 3, H, W] to [B, Q, D], of the detection tokens alone; without any to all tokens, [B, P+N, D]."""
        grid = self.grid_of(images)
        x = self.embed_at(self.patch_embed(images), grid)
        middle = self.place(self.mid_pos, grid) if hasattr(self, "mid_pos") else None
        for layer in range(self.row.depth - 1):
            x = self.run_layer(layer, x)
            if middle is not None:
                x = x + middle[layer]
        return self.norm(self.run_layer(self.row.depth - 1, x, outputs=self.tokens or None))

    def grid_of(self, images: Tensor) -> tuple[int, int]:
        """Return the rows and columns of patches of images [B, 3, H, W]."""
        height, width = images.shape[-2:]
        return height // self.row.stride, width // self.row.stride

    def embed_at(self, patches: Tensor, grid: tuple[int, int]) -> Tensor:
        """Map embedded patches [B, N, D] to tokens of the first layer [B, Q+P+N, D]."""
        own = [self.det_token] if self.tokens else []
        own += [self.cls_token] if self.prefix else []
        x = torch.cat([*(token.expand(patches.shape[0], -1, -1) for token in own), patches], 1)
        x = self.dropout(x + self.place(self.pos_embed, grid))
        return self.norm_pre(x) if self.row.norm_pre else x

    @torch.no_grad()
    def start_at_sines(self) -> None:
        """Set the positions of patches to sines and cosines, and draw detection tokens as large, as DETR's queries.

        A small detector learns from them far sooner: tokens that are almost equal find the same boxes.
        """
        rows, columns = self.grid
        square = sincos2d(max(self.grid), self.row.width).unflatten(1, (max(self.grid),) * 2)
        self.pos_embed[:, self.prefix : self.prefix + rows * columns] = square[:, :rows, :columns].flatten(1, 2)
        if self.tokens:
            nn.init.normal_(self.det_token)

    def place(self, table: Tensor, grid: tuple[int, int]) -> Tensor:
        """Resample tables [L, P+N+Q, D] to a grid of patches, in the order of the tokens: -> [L, Q+P+N, D]."""
        own, patches, detection = table.split([self.prefix, self.grid[0] * self.grid[1], self.tokens], 1)
        return torch.cat([detection, own, resample_rectangle(patches, self.grid, grid)], 1)


class ReluMlp(nn.Module):
    """Linear layers with ReLU between them, and after the last too if ``ends_with_relu``."""

    def __init__(self, *sizes: int, ends_with_relu: bool = False):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in zip(sizes, sizes[1:]))
        self.ends_with_relu = ends_with_relu

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., D] to [..., O]."""
        for number, layer in enumerate(self.layers, 1):
            x = layer(x)
            if number < len(self.layers) or self.ends_with_relu:
                x = functional.relu(x)
        return x


class Detector(Network):
    """Images [B, 3, H, W] -> :class:`Detections` of ``classes`` and "no object"."""

    row: Row
    body: nn.Module

    def __init__(self, row: Row, classes: int, width: int):
        super().__init__()
        self.row = row
        self.class_mlp = ReluMlp(width, width, width, ends_with_relu=True) if not row.decoder else nn.Identity()
        self.head = nn.Linear(width, classes + 1)
        self.box_head = ReluMlp(width, width, width, 4)

    def forward(self, images: Tensor, padding: Tensor | None = None) -> Detections:  # type: ignore[override]
        """Map [B, 3, H, W] to detections; ``padding`` [B, H, W] is true where a pixel was added around an image.

        As published, encoder and decoder do not attend to padding, and a ViT does.
        """
        return self.read(self.states(images, padding))

    def read(self, states: Tensor) -> Detections:
        """Map states [B, L, Q, D] to detections."""
        logits = self.head(self.class_mlp(states))
        return Detections(logits.float(), self.box_head(states).float().sigmoid())

    def states(self, images: Tensor, padding: Tensor | None) -> Tensor:
        """Map [B, 3, H, W] to a state of each query after each layer, [B, L, Q, D]."""
        raise NotImplementedError

    def pooled(self, images: Tensor) -> Tensor:
        """Raise a UserError: a detector has no vector of an image."""
        raise UserError(f"{self.row.name} finds objects and has no features of a whole image.", option="init")


class Yolos(Detector):
    """ViT with detection tokens, each of which predicts a class and a box."""

    body: TokenViT

    def __init__(self, row: Row, classes: int, grid: tuple[int, int]):
        vit = cast(ViTRow, row.body)
        super().__init__(row, classes, vit.width)
        self.body = TokenViT(vit, row.tokens, grid, row.mid)

    def states(self, images: Tensor, padding: Tensor | None) -> Tensor:
        """Map [B, 3, H, W] to [B, 1, Q, D]."""
        return self.body(images)[:, None]


class Detr(Detector):
    """Encoder and decoder with learned queries, on the feature map of a body."""

    def __init__(self, row: Row, classes: int, grid: tuple[int, int], res: int):
        super().__init__(row, classes, row.width)
        if isinstance(row.body, Timm):
            self.body = wrap_map(row.body, res)
            channels = self.body.body.num_features
        else:
            self.body, channels = TokenViT(row.body, 0, grid, row.mid), row.body.width
        self.transformer = DetectionTransformer(row, channels)

    def states(self, images: Tensor, padding: Tensor | None) -> Tensor:
        """Map [B, 3, H, W] to [B, L, Q, D]."""
        return self.transformer(self.features_map(images), padding)

    def features_map(self, images: Tensor) -> Tensor:
        """Map [B, 3, H, W] to [B, C, h, w]."""
        if isinstance(self.body, TimmNetwork):
            return self.body.body.forward_features(self.body.normalize(images))
        body = cast(TokenViT, self.body)
        return body(images)[:, body.prefix :].transpose(1, 2).unflatten(2, body.grid_of(images))


def wrap_map(row: Timm, res: int) -> TimmNetwork:
    """Return a ResNet of timm with frozen batch norms, stem and first stage, as in DETR.

    Raise a UserError for any other network.
    """
    from timm.utils.model import freeze_batch_norm_2d

    network = wrap_timm_network(row, 1, res)
    if not hasattr(network.body, "layer4"):
        raise UserError(
            f"{row.name} of timm is not a ResNet, whose feature map a decoder reads: choose one, or a ViT of vitrun.",
            option="model.body.name",
        )
    del network.head
    network.body = freeze_batch_norm_2d(network.body)
    for name, parameter in cast(Any, network.body).named_parameters():
        if name.startswith(FROZEN_PARTS):
            parameter.requires_grad_(False)
    return network


def construct_detector(row: Row, classes: int, res: int) -> Detector:
    """Return a detector with uninitialized weights; only a body of timm has initial ones."""
    rows, columns = row.grid or (res // row.stride,) * 2
    if row.decoder:
        return Detr(row, classes, (rows, columns), res)
    return Yolos(row, classes, (rows, columns))


@torch.no_grad()
def init_heads(network: Detector) -> None:
    """Initialize the layers, tokens and positions that a detector adds to its body, as published."""
    for module in (network.class_mlp, network.head, network.box_head):
        for layer in module.modules():
            if isinstance(layer, nn.Linear):
                nn.Linear.reset_parameters(layer)  # torch's default, as in the code of DETR and YOLOS
    if isinstance(network, Detr):
        nn.Conv2d.reset_parameters(network.transformer.proj)
        init_detection_transformer(network.transformer)
    if isinstance(network.body, TokenViT):
        for name in ("det_token", "pos_embed", "mid_pos"):
            if hasattr(network.body, name):
                nn.init.trunc_normal_(getattr(network.body, name), std=0.02)
        if cast(ViTRow, network.row.body).positions == "sincos2d":
            network.body.start_at_sines()
