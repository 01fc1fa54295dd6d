"""Folders of transformers' detectors: what both kinds have in common, and checks of their configs."""

from collections.abc import Iterable, Mapping

from vitrun.models.formats.hugging_face_config import check_refused_keys
from vitrun.models.formats.mapping import rename
from vitrun.models.tensor_files import JsonObject, Weights

LEAST_RES = 32  # pixels
BOX_HEAD = [(f"box_head.layers.{n}", f"bbox_predictor.layers.{n}") for n in (0, 1, 2)]  # layers here and there


def rename_detector(weights: Weights, rules: Iterable[tuple[str, str]], queries: str) -> Weights | None:
    """Return the weights with the names that :func:`rename` gives them.

    Return None if they have no tensor ``queries`` or no head of boxes: the layout is another.
    """
    weights = weights.rename({rename(name, rules): name for name in weights})
    return weights if queries in weights and f"{BOX_HEAD[0][1]}.weight" in weights else None


def check_kind(config: JsonObject, model_type: str, architecture: str) -> None:
    """Raise a ValueError if there is no config, if it is of another network, or if it has a key that changes it."""
    if not config:
        raise ValueError(f"its config.json is missing, which gives the heads and sizes of a {architecture}")
    if config.get("model_type", model_type) != model_type:
        raise ValueError(f"config.json has model_type={config['model_type']}, but its tensors are {architecture}'s")
    check_refused_keys(config)


def check_sizes(config: JsonObject, sizes: Mapping[str, object]) -> None:
    """Raise a ValueError if the config has other sizes than the tensors; it may lack some."""
    for key, value in sizes.items():
        given = config.get(key, value)
        pair = [given, given] if isinstance(given, int) else given
        if given != value and pair != [value, value]:
            raise ValueError(f"config.json has {key}={given}, but its tensors have {value}")


def describe_assumed(preprocessor: JsonObject) -> list[str]:
    """Return a note on what is assumed without ``preprocessor_config.json``."""
    return [] if preprocessor else ["assumed, as there is no preprocessor_config.json: training images in [-1, 1]"]


def count_classes(weights: Weights, name: str) -> int:
    """Return the number of classes of a detector's head, whose last output is "no object"."""
    return weights.shapes[name][0] - 1


def config_res(preprocessor: JsonObject, default: int, stride: int) -> int:
    """Return the shorter side of test images by ``preprocessor_config.json``, a multiple of ``stride``."""
    size = preprocessor.get("size", default)
    side: int = size.get("shortest_edge") or size.get("height") or default if isinstance(size, dict) else size
    return max(side - side % stride, stride, LEAST_RES // stride * stride)
