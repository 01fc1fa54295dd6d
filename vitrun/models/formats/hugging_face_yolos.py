"""YolosForObjectDetection of transformers, in a folder."""

from dataclasses import replace

from vitrun.models.formats import hugging_face
from vitrun.models.formats.detector_config import (
    BOX_HEAD,
    check_kind,
    check_sizes,
    config_res,
    count_classes,
    describe_assumed,
    rename_detector,
)
from vitrun.models.formats.hugging_face_config import as_pair, class_names, config_gelu, config_normalization
from vitrun.models.formats.identify import PLAIN_VIT, name_model, patch_side
from vitrun.models.formats.mapping import IdentifiedWeights, TensorMapping, drop_absent, map_layers, map_same
from vitrun.models.tensor_files import JsonObject, Weights
from vitrun.recipes import Detector, ViT
from vitrun.recipes.detector_rows import name_detector

TOKENS = "embeddings.detection_tokens"
POSITIONS = "embeddings.position_embeddings"
MID = "encoder.mid_position_embeddings"
RENAMES = (
    (r"^vit\.encoder\.interpolation\.", "encoder."),
    (r"^vit\.interpolation\.", "encoder."),
    *hugging_face.RENAMES,
)
MODEL_TYPE = "yolos"


def recognise(weights: Weights) -> IdentifiedWeights | None:
    """Return the YOLOS in a folder; None if its names are not of this layout."""
    config = weights.metadata.get("config", {})
    renamed = rename_detector(weights, RENAMES, TOKENS)
    if renamed is None:
        return None
    check_kind(config, MODEL_TYPE, "YolosForObjectDetection")
    model = infer_model(renamed, config)
    classes = count_classes(renamed, "class_labels_classifier.layers.2.weight")
    mappings = map_tensors(model)
    zeros: list[str] = []
    if not config.get("qkv_bias", True):
        mappings, zeros = drop_absent(mappings, renamed, ".qkv.bias")
    preprocessor = renamed.metadata.get("preprocessor", {})
    return IdentifiedWeights(
        renamed,
        model,
        config_res(preprocessor, min(model.grid) * model.stride, model.stride),
        classes,
        mappings,
        notes=describe_assumed(preprocessor),
        normalization=config_normalization(preprocessor),
        names=class_names(config, classes),
        zeros=tuple(zeros),
    )


def infer_model(weights: Weights, config: JsonObject) -> Detector:
    """Return the model. Raise a ValueError if config and tensors differ."""
    shapes = weights.shapes
    width, channels, *patch = shapes["embeddings.patch_embeddings.projection.weight"]
    side = patch_side(patch, channels)
    depth = len({name.split(".")[2] for name in shapes if name.startswith("encoder.layer.")})
    tokens = shapes[TOKENS][1]
    height, width_of_image = as_pair(config["image_size"])
    grid = (height // side, width_of_image // side)
    mlp = shapes["encoder.layer.0.intermediate.dense.weight"][0]
    sizes = {
        "hidden_size": width,
        "num_hidden_layers": depth,
        "intermediate_size": mlp,
        "num_detection_tokens": tokens,
        "use_mid_position_embeddings": MID in shapes,
        "patch_size": side,
        "num_channels": 3,
    }
    check_sizes(config, sizes)
    if (rows := shapes[POSITIONS][1]) != 1 + grid[0] * grid[1] + tokens:
        what = f"image_size={height}x{width_of_image}, {grid[0]}x{grid[1]} patches and {tokens} detection tokens"
        raise ValueError(f"config.json has {what}, but its position table has {rows} rows")
    body = replace(
        PLAIN_VIT,
        patch=side,
        width=width,
        depth=depth,
        heads=config["num_attention_heads"],
        mlp=mlp,
        gelu=config_gelu(config),
        epsilon=config.get("layer_norm_eps", 1e-12),  # transformers' default
    )
    return name_detector(name_model(body), tokens, MID in shapes, grid)


def map_tensors(model: Detector) -> list[TensorMapping]:
    """Return the mapping of each tensor."""
    of_vit = [mapping for mapping in hugging_face.map_tensors(as_vit(model)) if not mapping.ours.startswith("head.")]
    mappings = [replace(mapping, ours=f"body.{mapping.ours}") for mapping in of_vit]
    mappings.append(map_same("body.det_token", TOKENS))
    if model.mid:
        mappings.append(TensorMapping("body.mid_pos", (MID,), lambda t: t.flatten(0, 1), lambda t: (t[:, None],)))
    pairs = [(f"class_mlp.layers.{n}", f"class_labels_classifier.layers.{n}") for n in (0, 1)]
    pairs += [("head", "class_labels_classifier.layers.2")]
    return mappings + map_layers([*pairs, *BOX_HEAD])


def as_vit(model: Detector) -> ViT:
    """Return the row of the ViT of a YOLOS, without a pre-logits layer."""
    assert isinstance(model.body, ViT)
    return replace(model.body, pre_logits=False)
