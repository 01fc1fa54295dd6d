"""ViTs and hybrids as google-research/vision_transformer and big_vision write them."""

import re
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from vitrun.models.build import stride
from vitrun.models.formats.identify import grid, named, square
from vitrun.models.formats.jax_resnet import norm, trunk, units
from vitrun.models.formats.mapping import Entry, Source, dense, kernel, same
from vitrun.models.tensor_files import Weights, wrong
from vitrun.recipes import ViT

BLOCK, ATTENTION = "Transformer/encoderblock_{}", "MultiHeadDotProductAttention_0"

PREFIXES = ("opt/target/", "params/img/", "params/", "")  # of a training state; of a text-image model; of big_vision
RENAMED = (  # from older numbering and places to those of flax.linen
    (r"^Transformer/(posembed_input/)?pos_embedding$", "pos_embedding"),
    (r"(encoderblock(_\d+)?)/MultiHeadDotProductAttention_1/", r"\1/MultiHeadDotProductAttention_0/"),
    (r"(encoderblock(_\d+)?)/LayerNorm_2/", r"\1/LayerNorm_1/"),
    (r"(encoderblock(_\d+)?)/MlpBlock_3/", r"\1/MlpBlock_0/"),
    (r"^(probe|MlpBlock_0/.*|MultiHeadDotProductAttention_0/.*|LayerNorm_0/.*)$", r"MAPHead_0/\1"),
)


def recognise(weights: Weights) -> Source | None:
    """The ViT in the file, or None where its names are not of this layout."""
    prefix = next((prefix for prefix in PREFIXES if f"{prefix}embedding/kernel" in weights), None)
    if prefix is None:
        return None
    weights, ignored = renamed(weights, prefix)
    model, res, notes = inspect(weights)
    head = weights.shapes.get("head/kernel")
    return Source(weights, model, res, head and head[-1], entries(model), ignored, notes)


def renamed(weights: Weights, prefix: str) -> tuple[Weights, dict[str, list[str]]]:
    """The same tensors by their flax.linen names, stacked layers (big_vision's scan) apart; and the names of no use."""
    places, shapes, ignored = {}, {}, {}
    for name, shape in weights.shapes.items():
        if name.startswith("io/") or not name.startswith(prefix):
            ignored.setdefault("inputs and outputs" if name.startswith("io/") else f"outside {prefix}", []).append(name)
            continue
        short = name.removeprefix(prefix)
        for old, new in RENAMED:
            short = re.sub(old, new, short)
        if not short.startswith("Transformer/encoderblock/"):
            places[short], shapes[short] = (name, None), shape
            continue
        for layer in range(shape[0]):
            apart = short.replace("encoderblock/", f"encoderblock_{layer}/")
            places[apart], shapes[apart] = (name, layer), shape[1:]

    stack = cache(weights.__getitem__)  # every layer takes its part of the same array

    def get(name: str) -> Tensor:
        place, layer = places[name]
        return weights[place] if layer is None else stack(place)[layer]

    return Weights(weights.path, shapes, get, weights.facts), ignored


def inspect(weights: Weights) -> tuple[ViT, int | None, list[str]]:
    """The row, the resolution (None where nothing tells), and what had to be assumed."""
    shapes, notes = weights.shapes, []
    query = shapes.get(f"{BLOCK.format(0)}/{ATTENTION}/query/kernel")
    hidden = shapes.get(f"{BLOCK.format(0)}/MlpBlock_0/Dense_0/kernel")
    if query is None or hidden is None:
        raise wrong(weights.path, "it has a patch embedding and no encoder block.")
    patch, _, _, width = shapes["embedding/kernel"]
    table = shapes.get("pos_embedding")
    if table is None:
        notes.append("no position table in the file: big_vision's fixed sincos2d taken")
    model = named(
        ViT(
            kind="vit",
            name="",
            patch=patch,
            width=width,
            depth=sum(bool(re.fullmatch(BLOCK.format(r"\d+") + "/LayerNorm_0/scale", name)) for name in shapes),
            heads=query[1],
            mlp=hidden[-1],
            stem=shapes["conv_root/kernel"][-1] if "conv_root/kernel" in shapes else 0,
            resnet=units(shapes),
            head="token" if "cls" in shapes else "map" if "MAPHead_0/probe" in shapes else "gap",
            pre_logits="pre_logits/kernel" in shapes,
            positions="learned" if table else "sincos2d",
            positions_at="stem",
            dropout=0.0,
            stochastic_depth=0.0,
        )
    )
    if table and model.head == "token" and square(table[1]):
        notes.append("positions were added before the class token, as big_vision does: its own position is zero")
    return model, table and grid(table[1]) * stride(model), notes


def entries(model: ViT) -> list[Entry]:
    """Where each tensor of the network is, by flax.linen names."""
    stem = trunk(model) if model.stem else []
    patches = [kernel("patch_embed.proj.weight", "embedding/kernel"), same("patch_embed.proj.bias", "embedding/bias")]
    token = [same("cls_token", "cls")] if model.head == "token" else []
    places = [positions(model)] if model.positions == "learned" else []
    blocks = [
        entry for layer in range(model.depth) for entry in block(f"blocks.{layer}", BLOCK.format(layer), model.heads)
    ]
    pool = attention_pool(model.heads) if model.head == "map" else []
    pre_logits = dense("pre_logits", "pre_logits") if model.pre_logits else []
    final = [*norm("norm", "Transformer/encoder_norm"), *pool, *pre_logits, *dense("head", "head")]
    return [*stem, *patches, *token, *places, *blocks, *final]


def positions(model: ViT) -> Entry:
    """The table, with a row of zeros for the class token where it was added before that."""

    def take(table: Tensor) -> Tensor:
        if model.head == "token" and square(table.shape[1]):
            return functional.pad(table, (0, 0, 1, 0))
        return table

    return Entry("pos_embed", ("pos_embedding",), take, lambda table: (table,))


def block(ours: str, theirs: str, heads: int) -> list[Entry]:
    """One encoder block."""
    attention = f"{theirs}/{ATTENTION}"
    return [
        *norm(f"{ours}.norm1", f"{theirs}/LayerNorm_0"),
        *projections(f"{ours}.attn.qkv", attention, ("query", "key", "value"), heads),
        *projected(f"{ours}.attn.proj", f"{attention}/out", heads),
        *norm(f"{ours}.norm2", f"{theirs}/LayerNorm_1"),
        *dense(f"{ours}.mlp.fc1", f"{theirs}/MlpBlock_0/Dense_0"),
        *dense(f"{ours}.mlp.fc2", f"{theirs}/MlpBlock_0/Dense_1"),
    ]


def attention_pool(heads: int) -> list[Entry]:
    """The MAP head."""
    attention = f"MAPHead_0/{ATTENTION}"
    return [
        same("attn_pool.latent", "MAPHead_0/probe"),
        *projections("attn_pool.q", attention, ("query",), heads),
        *projections("attn_pool.kv", attention, ("key", "value"), heads),
        *projected("attn_pool.proj", f"{attention}/out", heads),
        *norm("attn_pool.norm", "MAPHead_0/LayerNorm_0"),
        *dense("attn_pool.mlp.fc1", "MAPHead_0/MlpBlock_0/Dense_0"),
        *dense("attn_pool.mlp.fc2", "MAPHead_0/MlpBlock_0/Dense_1"),
    ]


def projections(ours: str, theirs: str, parts: tuple[str, ...], heads: int) -> list[Entry]:
    """One dense layer [parts * D, D] of kernels [D, H, D/H] apart, and its bias."""

    def give(weight: Tensor) -> tuple[Tensor, ...]:
        return tuple(part.T.unflatten(1, (heads, -1)) for part in weight.chunk(len(parts)))

    return [
        Entry(
            f"{ours}.weight",
            tuple(f"{theirs}/{part}/kernel" for part in parts),
            lambda *kernels: torch.cat([kernel.flatten(1).T for kernel in kernels]),
            give,
        ),
        Entry(
            f"{ours}.bias",
            tuple(f"{theirs}/{part}/bias" for part in parts),
            lambda *biases: torch.cat([bias.flatten() for bias in biases]),
            lambda bias: tuple(part.unflatten(0, (heads, -1)) for part in bias.chunk(len(parts))),
        ),
    ]


def projected(ours: str, theirs: str, heads: int) -> list[Entry]:
    """The dense layer [D, D] after attention, of a kernel [H, D/H, D], and its bias."""
    weight = Entry(
        f"{ours}.weight",
        (f"{theirs}/kernel",),
        lambda kernel: kernel.flatten(0, 1).T,
        lambda weight: (weight.T.unflatten(0, (heads, -1)),),
    )
    return [weight, same(f"{ours}.bias", f"{theirs}/bias")]
