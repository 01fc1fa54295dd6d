"""ViTs and hybrids in the layouts of google-research/vision_transformer and big_vision."""

import re
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from vitrun.models.build import token_stride
from vitrun.models.formats.identify import PLAIN_VIT, is_square, name_model, patch_side, position_grid_side
from vitrun.models.formats.jax_resnet import count_units, map_norm, map_resnet
from vitrun.models.formats.mapping import IdentifiedWeights, TensorMapping, map_dense, map_kernel, map_same, rename
from vitrun.models.tensor_files import Shapes, Weights, weights_error
from vitrun.recipes import ViT

BLOCK, ATTENTION = "Transformer/encoderblock_{}", "MultiHeadDotProductAttention_0"

PREFIXES = ("opt/target/", "params/img/", "params/", "")  # a training state, an image-text model, big_vision, none
RENAMES = (  # older names -> those of flax.linen
    (r"^Transformer/(posembed_input/)?pos_embedding$", "pos_embedding"),
    (r"(encoderblock(_\d+)?)/MultiHeadDotProductAttention_1/", r"\1/MultiHeadDotProductAttention_0/"),
    (r"(encoderblock(_\d+)?)/LayerNorm_2/", r"\1/LayerNorm_1/"),
    (r"(encoderblock(_\d+)?)/MlpBlock_3/", r"\1/MlpBlock_0/"),
    (r"^(probe|MlpBlock_0/.*|MultiHeadDotProductAttention_0/.*|LayerNorm_0/.*)$", r"MAPHead_0/\1"),
)


def recognise(weights: Weights) -> IdentifiedWeights | None:
    """Return the ViT in a file; None if its names are not of this layout."""
    prefix = next((prefix for prefix in PREFIXES if f"{prefix}embedding/kernel" in weights), None)
    if prefix is None:
        return None
    weights, ignored = rename_tensors(weights, prefix)
    model, res, notes = infer_model(weights)
    head = weights.shapes.get("head/kernel")
    return IdentifiedWeights(weights, model, res, head[-1] if head else None, map_tensors(model), ignored, notes)


def rename_tensors(weights: Weights, prefix: str) -> tuple[Weights, dict[str, list[str]]]:
    """Return the tensors by flax.linen names, and the names that are not used, by reason.

    Stacked layers, as by big_vision's scan, are split.
    """
    sources: dict[str, tuple[str, int | None]] = {}  # name -> the array that has it, and the layer if it is a stack
    shapes: Shapes = {}
    ignored: dict[str, list[str]] = {}
    for name, shape in weights.shapes.items():
        if name.startswith("io/") or not name.startswith(prefix):
            ignored.setdefault("inputs and outputs" if name.startswith("io/") else f"outside {prefix}", []).append(name)
            continue
        new_name = rename(name.removeprefix(prefix), RENAMES)
        if not new_name.startswith("Transformer/encoderblock/"):
            sources[new_name], shapes[new_name] = (name, None), shape
            continue
        for layer in range(shape[0]):
            layer_name = new_name.replace("encoderblock/", f"encoderblock_{layer}/")
            sources[layer_name], shapes[layer_name] = (name, layer), shape[1:]

    read_stack = cache(weights.__getitem__)  # all layers are parts of one array

    def get(name: str) -> Tensor:
        source, layer = sources[name]
        return weights[source] if layer is None else read_stack(source)[layer]

    return Weights(weights.path, shapes, get, weights.metadata), ignored


def infer_model(weights: Weights) -> tuple[ViT, int | None, list[str]]:
    """Return the model, the resolution (None if unknown), and notes on what was assumed."""
    shapes = weights.shapes
    notes: list[str] = []
    query = shapes.get(f"{BLOCK.format(0)}/{ATTENTION}/query/kernel")
    hidden = shapes.get(f"{BLOCK.format(0)}/MlpBlock_0/Dense_0/kernel")
    if query is None or hidden is None:
        raise weights_error(weights.path, "it has a patch embedding, but no encoder block.")
    width, stem = shapes["embedding/kernel"][-1], shapes.get("conv_root/kernel")
    patch = patch_side(shapes["embedding/kernel"][:2], (stem or shapes["embedding/kernel"])[2])
    table = shapes.get("pos_embedding")
    if table is None:
        notes.append("no position table in the file: using big_vision's fixed sincos2d")
    model = name_model(
        replace(
            PLAIN_VIT,
            patch=patch,
            width=width,
            depth=sum(bool(re.fullmatch(BLOCK.format(r"\d+") + "/LayerNorm_0/scale", name)) for name in shapes),
            heads=query[1],
            mlp=hidden[-1],
            stem=stem[-1] if stem else 0,
            resnet=count_units(shapes),
            head="token" if "cls" in shapes else "map" if "MAPHead_0/probe" in shapes else "gap",
            pre_logits="pre_logits/kernel" in shapes,
            positions="learned" if table else "sincos2d",
        )
    )
    if table and model.head == "token" and is_square(table[1]):
        notes.append("positions were added before the class token, as big_vision does: its own position is zero")
    return model, position_grid_side(table[1]) * token_stride(model) if table else None, notes


def map_tensors(model: ViT) -> list[TensorMapping]:
    """Return the mapping of each tensor, by flax.linen names."""
    stem = map_resnet(model) if model.stem else []
    patches = [
        map_kernel("patch_embed.proj.weight", "embedding/kernel"),
        map_same("patch_embed.proj.bias", "embedding/bias"),
    ]
    token = [map_same("cls_token", "cls")] if model.head == "token" else []
    positions = [map_positions(model)] if model.positions == "learned" else []
    blocks = [
        mapping
        for layer in range(model.depth)
        for mapping in map_block(f"blocks.{layer}", BLOCK.format(layer), model.heads)
    ]
    pool = map_attention_pool(model.heads) if model.head == "map" else []
    pre_logits = map_dense("pre_logits", "pre_logits") if model.pre_logits else []
    final = [*map_norm("norm", "Transformer/encoder_norm"), *pool, *pre_logits, *map_dense("head", "head")]
    return [*stem, *patches, *token, *positions, *blocks, *final]


def map_positions(model: ViT) -> TensorMapping:
    """Map the position table; add a row of zeros for the class token if the file has none."""

    def convert(table: Tensor) -> Tensor:
        if model.head == "token" and is_square(table.shape[1]):
            return functional.pad(table, (0, 0, 1, 0))
        return table

    return TensorMapping("pos_embed", ("pos_embedding",), convert, lambda table: (table,))


def map_block(ours: str, theirs: str, heads: int) -> list[TensorMapping]:
    """Map an encoder block."""
    attention = f"{theirs}/{ATTENTION}"
    return [
        *map_norm(f"{ours}.norm1", f"{theirs}/LayerNorm_0"),
        *map_projections(f"{ours}.attn.qkv", attention, ("query", "key", "value"), heads),
        *map_output_projection(f"{ours}.attn.proj", f"{attention}/out", heads),
        *map_norm(f"{ours}.norm2", f"{theirs}/LayerNorm_1"),
        *map_dense(f"{ours}.mlp.fc1", f"{theirs}/MlpBlock_0/Dense_0"),
        *map_dense(f"{ours}.mlp.fc2", f"{theirs}/MlpBlock_0/Dense_1"),
    ]


def map_attention_pool(heads: int) -> list[TensorMapping]:
    """Map the MAP head."""
    attention = f"MAPHead_0/{ATTENTION}"
    return [
        map_same("attn_pool.latent", "MAPHead_0/probe"),
        *map_projections("attn_pool.q", attention, ("query",), heads),
        *map_projections("attn_pool.kv", attention, ("key", "value"), heads),
        *map_output_projection("attn_pool.proj", f"{attention}/out", heads),
        *map_norm("attn_pool.norm", "MAPHead_0/LayerNorm_0"),
        *map_dense("attn_pool.mlp.fc1", "MAPHead_0/MlpBlock_0/Dense_0"),
        *map_dense("attn_pool.mlp.fc2", "MAPHead_0/MlpBlock_0/Dense_1"),
    ]


def map_projections(ours: str, theirs: str, parts: tuple[str, ...], heads: int) -> list[TensorMapping]:
    """Map a dense layer [len(parts) * D, D] and separate kernels [D, H, D/H], and its bias."""

    def invert(weight: Tensor) -> tuple[Tensor, ...]:
        return tuple(part.T.unflatten(1, (heads, -1)) for part in weight.chunk(len(parts)))

    return [
        TensorMapping(
            f"{ours}.weight",
            tuple(f"{theirs}/{part}/kernel" for part in parts),
            lambda *kernels: torch.cat([kernel.flatten(1).T for kernel in kernels]),
            invert,
        ),
        TensorMapping(
            f"{ours}.bias",
            tuple(f"{theirs}/{part}/bias" for part in parts),
            lambda *biases: torch.cat([bias.flatten() for bias in biases]),
            lambda bias: tuple(part.unflatten(0, (heads, -1)) for part in bias.chunk(len(parts))),
        ),
    ]


def map_output_projection(ours: str, theirs: str, heads: int) -> list[TensorMapping]:
    """Map the dense layer [D, D] after attention and a kernel [H, D/H, D], and its bias."""
    weight = TensorMapping(
        f"{ours}.weight",
        (f"{theirs}/kernel",),
        lambda kernel: kernel.flatten(0, 1).T,
        lambda weight: (weight.T.unflatten(0, (heads, -1)),),
    )
    return [weight, map_same(f"{ours}.bias", f"{theirs}/bias")]
