"""CLIPVisionModel and CLIPVisionModelWithProjection of transformers: the image tower of a CLIP alone, in a folder."""

from dataclasses import replace

from vitrun.models.build import build_uninitialized, token_stride
from vitrun.models.formats.clip_rows import name_image_tower
from vitrun.models.formats.hugging_face_clip import (
    VISION,
    check_config,
    describe_assumptions,
    infer_image_tower,
    list_position_numbers,
    map_tensor,
    read_normalization,
    read_part,
)
from vitrun.models.formats.identify import position_grid_side
from vitrun.models.formats.mapping import IdentifiedWeights, TensorMapping
from vitrun.models.tensor_files import Weights
from vitrun.recipes import ViT

TOWER = "vision_config"
KINDS = (None, "clip_vision_model")  # model_type; networks of others have towers with the same names
LANDMARKS = ("embeddings.class_embedding", "pre_layrnorm.weight", "post_layernorm.weight")
IMAGE = "image."  # prefix of the names of this tower in a CLIP


def recognise(weights: Weights) -> IdentifiedWeights | None:
    """Return the image tower in a folder, with a head of no classes; None if its names are of another network."""
    config = weights.metadata.get("config", {})
    if config.get("model_type") not in KINDS or "logit_scale" in weights:
        return None
    if {*LANDMARKS} <= weights.keys():  # of CLIPVisionModel since transformers 5
        weights = weights.rename({f"{VISION}.{name}": name for name in weights})
    if not {f"{VISION}.{name}" for name in LANDMARKS} <= weights.keys() or "classifier.weight" in weights:
        return None
    config = {**config, TOWER: config}
    tower = infer_image_tower(weights, read_part(config, TOWER))
    res = position_grid_side(weights.shapes[f"{VISION}.embeddings.position_embedding.weight"][0]) * token_stride(tower)
    check_config(config, tower, res)
    model = replace(tower, name=name_image_tower(tower, res))
    ignored = list_position_numbers(weights)
    ignored |= {"projection of images": [name for name in weights if name == "visual_projection.weight"]}
    notes = describe_assumptions(weights, "12 heads")
    return IdentifiedWeights(weights, model, res, 0, map_tensors(model), ignored, notes, read_normalization(weights))


def map_tensors(model: ViT) -> list[TensorMapping]:
    """Return the mapping of each tensor of an image tower that its files have."""
    names = build_uninitialized(model, 0, 4 * token_stride(model)).state_dict()
    mappings = [map_tensor(IMAGE + name) for name in names if not name.startswith("head.")]
    return [replace(mapping, ours=mapping.ours.removeprefix(IMAGE)) for mapping in mappings]
