"""ViTs by the names of torchvision's ``VisionTransformer``, as ``encoder.layers.encoder_layer_0.ln_1.weight``."""

from dataclasses import replace

from vitrun.models.formats.identify import PLAIN_VIT, lookup_heads, name_model, position_grid_side
from vitrun.models.formats.mapping import IdentifiedWeights, TensorMapping, map_layers, map_same, rename
from vitrun.models.tensor_files import Weights
from vitrun.recipes import ViT

RENAMES = (  # names in memory, of an MLP as a torch.nn.Sequential, -> names in published files
    (r"\.mlp\.0\.", ".mlp.linear_1."),
    (r"\.mlp\.3\.", ".mlp.linear_2."),
)
LAYER = "encoder.layers.encoder_layer_"
IMAGENET_NORMALIZATION = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])  # of all of torchvision's weights
NOTE = "the file has no mean and std of its training images: those of all of torchvision's weights are assumed"


def recognise(weights: Weights) -> IdentifiedWeights | None:
    """Return the ViT in a file; None if its names are not torchvision's."""
    if "conv_proj.weight" not in weights or f"{LAYER}0.ln_1.weight" not in weights:
        return None
    weights = weights.rename({rename(name, RENAMES): name for name in weights})
    model = infer_model(weights)
    res = position_grid_side(weights.shapes["encoder.pos_embedding"][1]) * model.patch
    classes = weights.shapes.get("heads.head.weight", (None,))[0]
    mappings = map_tensors(model)
    return IdentifiedWeights(weights, model, res, classes, mappings, {}, [NOTE], IMAGENET_NORMALIZATION)


def infer_model(weights: Weights) -> ViT:
    """Return the model, with torch's exact GELU and epsilon 1e-6. Raise a UserError if its heads are unknown."""
    shapes = weights.shapes
    width, _, patch, _ = shapes["conv_proj.weight"]
    depth = len({name.split(".")[2] for name in shapes if name.startswith(LAYER)})
    mlp = shapes[f"{LAYER}0.mlp.linear_1.weight"][0]
    heads = lookup_heads(width, depth, mlp, weights.path)
    return name_model(
        replace(
            PLAIN_VIT,
            patch=patch,
            width=width,
            depth=depth,
            heads=heads,
            mlp=mlp,
            pre_logits="heads.pre_logits.weight" in shapes,
            gelu="exact",
            epsilon=1e-6,
        )
    )


def map_tensors(model: ViT) -> list[TensorMapping]:
    """Return the mapping of each tensor."""
    mappings = [map_same("cls_token", "class_token"), map_same("pos_embed", "encoder.pos_embedding")]
    pairs = [("patch_embed.proj", "conv_proj"), ("norm", "encoder.ln"), ("head", "heads.head")]
    pairs += [("pre_logits", "heads.pre_logits")] if model.pre_logits else []
    for layer in range(model.depth):
        ours, theirs = f"blocks.{layer}", f"{LAYER}{layer}"
        pairs += [
            (f"{ours}.norm1", f"{theirs}.ln_1"),
            (f"{ours}.attn.proj", f"{theirs}.self_attention.out_proj"),
            (f"{ours}.norm2", f"{theirs}.ln_2"),
            (f"{ours}.mlp.fc1", f"{theirs}.mlp.linear_1"),
            (f"{ours}.mlp.fc2", f"{theirs}.mlp.linear_2"),
        ]
        mappings += [
            map_same(f"{ours}.attn.qkv.{part}", f"{theirs}.self_attention.in_proj_{part}")
            for part in ("weight", "bias")
        ]
    return mappings + map_layers(pairs)
