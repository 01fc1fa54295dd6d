"""ImageGPT of transformers: ``ImageGPTForCausalImageModeling`` and ``ImageGPTForImageClassification``, in a folder."""

import re
from math import isqrt

import torch
from torch import Tensor

from vitrun.models.formats.hugging_face_config import GELUS, check_refused_keys, class_names
from vitrun.models.formats.identify import name_model
from vitrun.models.formats.mapping import IdentifiedWeights, TensorMapping, map_same
from vitrun.models.tensor_files import JsonObject, Weights
from vitrun.recipes import IGpt

EMBEDDING, CLUSTERS = "transformer.wte.weight", "clusters"
MASKS = r"\.attn\.(bias|masked_bias)$"  # constant buffers in older files
FIXED = {  # what transformers computes with other values of these, vitrun does not
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
    "tie_word_embeddings": False,
}


def recognise(weights: Weights) -> IdentifiedWeights | None:
    """Return the ImageGPT in a folder; None if its names are not of this layout."""
    if (
        EMBEDDING not in weights
        or "transformer.h.0.ln_1.weight" not in weights
        or "transformer.h.0.ln_1.bias" in weights
    ):
        return None
    config = weights.metadata.get("config", {})
    classes = weights.shapes.get("score.weight", (None,))[0]
    model, res = infer_model(weights, config, classes is not None), isqrt(weights.shapes["transformer.wpe.weight"][0])
    if res**2 != weights.shapes["transformer.wpe.weight"][0]:
        raise ValueError(f"it has {weights.shapes['transformer.wpe.weight'][0]} positions, which do not form a square")
    weights = add_colours(weights, model.colours)
    lacking = ["head.bias"] if classes is not None else []
    lacking += ["lm_head.weight"] if "lm_head.weight" not in weights else []
    mappings = [mapping for mapping in map_tensors(model) if mapping.ours not in lacking]
    masks = [name for name in weights if re.search(MASKS, name)]
    return IdentifiedWeights(
        weights,
        model,
        res,
        classes,
        mappings,
        {"constant masks of attention": masks} if masks else {},
        names=class_names(config, classes),
        zeros=tuple(lacking),
    )


def infer_model(weights: Weights, config: JsonObject, classifies: bool) -> IGpt:
    """Return the model. Raise a ValueError if vitrun cannot compute what the config says."""
    shapes = weights.shapes
    if "n_head" not in config:
        raise ValueError("its config.json with n_head, the number of heads, is missing: give the folder")
    for key, value in FIXED.items():
        if config.get(key, value) != value:
            raise ValueError(f"config.json has {key}={config[key]}; vitrun computes {key}={value}")
    check_refused_keys(config)
    activation = config.get("activation_function", "quick_gelu")
    if activation not in GELUS:
        raise ValueError(f"config.json has activation_function={activation!r}; vitrun has {', '.join(GELUS)}")
    tokens, width = shapes[EMBEDDING]
    model = IGpt(
        kind="igpt",
        name="",
        width=width,
        depth=len({name.split(".")[2] for name in shapes if name.startswith("transformer.h.")}),
        heads=config["n_head"],
        mlp=shapes["transformer.h.0.mlp.c_fc.weight"][1],
        colours=tokens - 1,  # the last is the start token
        causal=True,
        start=not classifies,  # transformers' classifier reads all pixels, without a start token
        epsilon=config.get("layer_norm_epsilon", 1e-5),
        bias="transformer.h.0.attn.c_attn.bias" in shapes,
        gelu=GELUS[activation],
    )
    return name_model(model)


def add_colours(weights: Weights, number: int) -> Weights:
    """Return the weights with the colours of ``preprocessor_config.json`` beside them, [K, 3] in [-1, 1].

    Raise a ValueError if there are none, or not as many as tokens.
    """
    clusters = weights.metadata.get("preprocessor", {}).get(CLUSTERS)
    if clusters is None:
        raise ValueError("it has no preprocessor_config.json with clusters, the colours of its tokens: give the folder")
    colours = torch.tensor(clusters, dtype=torch.float32)
    if tuple(colours.shape) != (number, 3):
        raise ValueError(f"preprocessor_config.json has clusters {tuple(colours.shape)}; its tokens need ({number}, 3)")

    def get_tensor(name: str) -> Tensor:
        return colours if name == CLUSTERS else weights[name]

    return Weights(weights.path, {**weights.shapes, CLUSTERS: colours.shape}, get_tensor, weights.metadata)


def map_tensors(model: IGpt) -> list[TensorMapping]:
    """Return the mapping of each tensor; transformers' dense layers of blocks are transposed ("Conv1D").

    Its embedding has the start token as its last row: a network without one is written with a row of zeros.
    """
    mappings = [
        map_same("colours", CLUSTERS),
        TensorMapping("colour_embed.weight", (EMBEDDING,), lambda t: t[:-1], lambda t: (pad_row(t),)),
        TensorMapping("pos_embed", ("transformer.wpe.weight",), lambda t: t[None], lambda t: (t[0],)),
        map_same("norm.weight", "transformer.ln_f.weight"),
        map_same("lm_head.weight", "lm_head.weight"),
        map_same("head.weight", "score.weight"),
        map_same("head.bias", "score.bias"),  # which transformers does not have
    ]
    if model.start:
        mappings.append(TensorMapping("start", (EMBEDDING,), lambda t: t[-1][None, None], lambda t: (t.flatten(),)))
    for layer in range(model.depth):
        ours, theirs = f"blocks.{layer}", f"transformer.h.{layer}"
        mappings += [map_same(f"{ours}.norm{n}.weight", f"{theirs}.ln_{n}.weight") for n in (1, 2)]
        for name, other in (("attn.qkv", "attn.c_attn"), ("attn.proj", "attn.c_proj")):
            mappings += map_conv1d(f"{ours}.{name}", f"{theirs}.{other}", model.bias)
        for name, other in (("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj")):
            mappings += map_conv1d(f"{ours}.{name}", f"{theirs}.{other}", model.bias)
    return mappings


def pad_row(table: Tensor) -> Tensor:
    """Return the table [K, D] with a row of zeros behind it."""
    return torch.cat([table, table.new_zeros(1, table.shape[1])])


def map_conv1d(ours: str, theirs: str, bias: bool) -> list[TensorMapping]:
    """Map a dense layer's weight [out, in] and transformers' [in, out], and its bias if it has one."""
    weight = TensorMapping(f"{ours}.weight", (f"{theirs}.weight",), lambda t: t.T, lambda t: (t.T,))
    return [weight, map_same(f"{ours}.bias", f"{theirs}.bias")] if bias else [weight]
