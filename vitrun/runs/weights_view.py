"""The view of test images that weights bring: of a run, of timm, of transformers, or of Google's code."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vitrun.errors import ExitCode, UserError
from vitrun.recipes import RECTANGLES, Clip, tables
from vitrun.runs.detector_view import DETECTOR_PROCESSORS, IMAGENET_MEAN, read_detector_view
from vitrun.runs.init_resolution import download_file
from vitrun.runs.lookup import find_weights_file, load_saved_recipe
from vitrun.runtime.config_kinds import check_config
from vitrun.runtime.files import parse_json, read_small_text
from vitrun.runtime.npz_mark import read_mark

OPEN_CLIP_FILE = "open_clip_config.json"
CONFIG_FILES = ("config.json", "preprocessor_config.json", OPEN_CLIP_FILE)
JsonObject = Mapping[str, Any]  # of a config that another library wrote
# Google's code resizes to a square, by TensorFlow without antialias (vit_jax/input_pipeline.py)
GOOGLE_VIEW = {"resize": "square", "crop": 1.0, "antialias": False, "interpolation": "bilinear"}
TIMM_MODES = {"center": "shortest", "squash": "squash", "border": "border"}  # crop_mode -> view.resize
CLIP_TYPES = ("clip", "clip_vision_model")  # model_type of transformers
OPEN_CLIP_MODES = {"shortest": "shortest_edge", "squash": "squash"}  # resize_mode -> view.resize
BILINEAR, BICUBIC = 2, 3  # PIL's numbers
RESAMPLES = {BILINEAR: "bilinear", BICUBIC: "bicubic"}
SQUARE_PROCESSOR = {"size": 224, "resample": 2, "default_to_square": True}
CLIP_PROCESSOR = {"size": 224, "resample": 3, "do_center_crop": True, "crop_size": 224, "default_to_square": False}
PROCESSORS = {  # of transformers -> their defaults
    "ViT": SQUARE_PROCESSOR,
    "DeiT": SQUARE_PROCESSOR | {"size": 256, "resample": 3, "do_center_crop": True, "crop_size": 224},
    "Beit": SQUARE_PROCESSOR | {"resample": 3, "crop_size": 224},
    "Siglip": SQUARE_PROCESSOR | {"resample": 3},
    "CLIP": CLIP_PROCESSOR,
    "Bit": CLIP_PROCESSOR,
}


@dataclass(frozen=True)
class WeightsView:
    """Options of ``view`` that weights bring, the side of the images if they name one, and where both are from."""

    source: str  # as in "view: of {source}"; empty if the weights have no view
    options: dict[str, Any] = field(default_factory=dict)
    res: int | None = None


def find_weights_view(init: str, runs: Path, res: int | None = None) -> WeightsView:
    """Return the view of a resolved ``init``, of images of ``res`` pixels if that is given.

    Raise a UserError if the config of the weights describes a view that vitrun lacks.
    """
    if (recipe := load_saved_recipe(init, runs)) is not None:
        return WeightsView("the run", recipe["view"])
    if init.startswith("timm:"):
        return read_timm_view(load_timm_config(init.removeprefix("timm:").partition("@")[0]), init, res)
    if init.startswith("torchvision:"):
        return read_torchvision_view(init.removeprefix("torchvision:"))
    if init.startswith("random:"):
        is_clip = isinstance(tables.load_model_row(init.removeprefix("random:")), Clip)
        return read_clip_view(init) if is_clip else WeightsView("")
    if init.startswith("hf:"):
        return read_folder_view({name: read_json(download_file(init, name)) for name in CONFIG_FILES}, init, res)
    path = Path(find_weights_file(init, runs))
    if path.is_dir():
        return read_folder_view({name: read_json(path / name) for name in CONFIG_FILES}, str(path), res)
    if path.suffix != ".npz":
        return read_checkpoint_view(path, res)
    mark = read_mark(path)
    if mark is None:
        return WeightsView("Google's code, as of any .npz", GOOGLE_VIEW)
    return WeightsView("vitrun's mark in this .npz", mark.get("view") or {})


def read_checkpoint_view(path: Path, res: int | None) -> WeightsView:
    """Return the view of a checkpoint: by its arguments if it is of timm's training, CLIP's own if it has a CLIP.

    For any other file it is empty.
    """
    from vitrun.models.formats import describe_checkpoint, holds_clip
    from vitrun.models.tensor_files import read_weights

    if not path.is_file():
        return WeightsView("")
    try:
        weights = read_weights(path)
        if holds_clip(weights):
            return read_clip_view(str(path))
        config = describe_checkpoint(weights)
    except (UserError, ValueError):  # which loading reports
        return WeightsView("")
    if not config:
        return WeightsView("")
    view = read_timm_view(config["pretrained_cfg"], str(path), res)
    return replace(view, source=f"timm's training of {config['architecture']}, by the arguments in the file")


def read_clip_view(name: str) -> WeightsView:
    """Return the view of OpenAI's and open_clip's CLIPs, for weights without a description of their own."""
    return replace(read_open_clip_view({}, name), source="CLIP's own code, as these weights do not say")


def load_timm_config(tag: str) -> dict[str, Any]:
    """Return timm's ``pretrained_cfg`` of a tag. Raise a UserError if there is no such tag."""
    from vitrun.models.hub import check_tag
    from vitrun.models.timm_wrapper import pretrained_config

    check_tag(tag)
    config: dict[str, Any] = pretrained_config(tag).to_dict()
    return config


def read_torchvision_view(name: str) -> WeightsView:
    """Return the view of the transforms that torchvision publishes with weights."""
    from vitrun.models.torchvision_weights import find_published_weights

    weights = find_published_weights(name)
    share = find_share(weights.res, weights.resized)
    options = {"resize": "shortest", "crop": share, "antialias": True, "interpolation": weights.interpolation}
    return WeightsView("torchvision's transforms of these weights", options, weights.res)


def read_json(path: Path | None) -> dict[str, Any]:
    """Return the object in a JSON file; an empty one if there is none, which other functions report."""
    if path is None:
        return {}
    try:
        return dict(parse_json(read_small_text(path)))
    except (OSError, ValueError, TypeError):
        return {}


def read_folder_view(configs: dict[str, dict[str, Any]], name: str, res: int | None) -> WeightsView:
    """Return the view of a folder of timm, transformers or open_clip; an empty one if it describes none.

    Raise a UserError if a value is of another kind than its key has.
    """
    for file in CONFIG_FILES:
        check_config(name, file, configs[file])
    config, processor, open_clip = (configs[file] for file in CONFIG_FILES)
    if open_clip:  # whose weights are read, though the image tower may lie beside them as timm has it
        return read_open_clip_view(open_clip.get("preprocess_cfg") or {}, name)
    if "architecture" in config:
        return read_timm_view(config.get("pretrained_cfg") or config, name, res)
    if processor:
        kind = f"{processor.get('image_processor_type') or processor.get('feature_extractor_type') or 'ViT'}"
        return read_processor_view(processor, kind, name)
    return read_clip_view(name) if config.get("model_type") in CLIP_TYPES else WeightsView("")


def read_open_clip_view(config: JsonObject, name: str) -> WeightsView:
    """Return the view of open_clip's ``image_transform`` for testing, by the ``preprocess_cfg`` of the weights."""
    mode, interpolation = config.get("resize_mode") or "shortest", config.get("interpolation") or "bicubic"
    if mode not in OPEN_CLIP_MODES or interpolation not in RESAMPLES.values():
        raise unknown_view_error(name, OPEN_CLIP_FILE, f"resize_mode {mode}, interpolation {interpolation}")
    options = {"resize": OPEN_CLIP_MODES[mode], "crop": 1.0, "antialias": True, "interpolation": interpolation}
    return WeightsView(f"{OPEN_CLIP_FILE} of these weights", options)


def read_timm_view(config: JsonObject, name: str, res: int | None) -> WeightsView:
    """Return the view of timm's ``validate.py``, by the ``pretrained_cfg`` of the weights.

    It is that of testing where that has a size of its own, unless ``res`` is the size of training.
    """
    side, test_side = ((config.get(key) or [None])[-1] for key in ("input_size", "test_input_size"))
    of_training = res is not None and res == side and test_side not in (None, side)
    share = None if of_training else config.get("test_crop_pct")
    share = float(share or config.get("crop_pct") or 0.875)
    mode, interpolation = config.get("crop_mode") or "center", config.get("interpolation") or "bicubic"
    if mode not in TIMM_MODES or interpolation not in RESAMPLES.values() or not 0 < share <= 1:
        facts = f"crop_mode {mode}, crop_pct {share:g}, interpolation {interpolation}"
        raise unknown_view_error(name, "timm's pretrained_cfg", facts)
    options = {"resize": TIMM_MODES[mode], "crop": share, "antialias": True, "interpolation": interpolation}
    if mode == "border":
        options["fill"] = [round(255 * mean) for mean in config.get("mean") or IMAGENET_MEAN]
    return WeightsView("timm's pretrained_cfg of these weights", options, None if of_training else test_side)


def read_processor_view(config: JsonObject, kind: str, name: str) -> WeightsView:
    """Return the view of an image processor of transformers, by its ``preprocessor_config.json``."""
    file = "preprocessor_config.json"
    family = re.sub(r"(ImageProcessor(Fast|Pil)?|FeatureExtractor)$", "", kind)
    if family in DETECTOR_PROCESSORS:
        resample = BILINEAR if config.get("resample") is None else config["resample"]
        view, method = read_detector_view(config, family), RESAMPLES.get(resample)
        if view is None or method is None:
            raise unknown_view_error(name, file, f"resample {resample}, size {config.get('size')}")
        options, side, note = view
        return WeightsView(f"{file} of these weights{note}", options | {"interpolation": method}, side)
    defaults = PROCESSORS.get(family)
    if defaults is None:
        raise unknown_view_error(name, file, f"image_processor_type {kind}")
    values = {**defaults, **{key: value for key, value in config.items() if value is not None}}
    crops, resizes = bool(values.get("do_center_crop")), bool(values.get("do_resize", True))
    square, side = read_size(values["size"], bool(values["default_to_square"]))
    crop_side = read_size(values["crop_size"], True)[1] if crops else side
    resample = RESAMPLES.get(values["resample"])
    if side is None or crop_side is None or crop_side > side or resample is None or (crops and not resizes):
        facts = ", ".join(f"{key} {values.get(key)}" for key in ("size", "crop_size", "resample", "do_resize"))
        raise unknown_view_error(name, file, facts)
    options = {
        "resize": "square" if square else "shortest_edge",
        "crop": find_share(crop_side, side),
        "antialias": True,
        "interpolation": resample,
    }
    return WeightsView(f"{file} of these weights", options)


def describe_view(view: Mapping[str, Any]) -> str:
    """Return ``shortest 0.9 bicubic``: what distinguishes one view from another at the same resolution."""
    if view["resize"] in RECTANGLES:
        multiple = RECTANGLES[view["resize"]]
        cut = f" cut to {multiple}" if multiple > 1 else ""
        return f"rectangles{cut} {view['interpolation']}" + " without antialias" * (not view["antialias"])
    antialias = "" if view["antialias"] or view["resize"] == "small_area" else " without antialias"
    method = "" if view["resize"] == "small_area" else f" {view['interpolation']}"
    return f"{view['resize']} {view['crop']:.3g}{method}{antialias}"


def read_size(size: Any, to_square: bool) -> tuple[bool, int | None]:
    """Return whether a size of transformers is a square or a shortest edge, and its pixels; None if it is neither."""
    if isinstance(size, int):
        return to_square, size
    if isinstance(size, list) and len(size) == 2 and size[0] == size[1]:
        return True, int(size[0])
    sides = {key: value for key, value in size.items() if value is not None} if isinstance(size, dict) else {}
    if sides.keys() == {"height", "width"} and sides["height"] == sides["width"]:
        return True, int(sides["height"])
    return False, int(sides["shortest_edge"]) if sides.keys() == {"shortest_edge"} else None


def find_share(crop: int, side: int) -> float:
    """Return the share ``crop / side``, with which ``floor(crop / share)`` is ``side``."""
    share = crop / side
    return share if math.floor(crop / share) == side else math.nextafter(share, 0)


def unknown_view_error(name: str, file: str, facts: str) -> UserError:
    """Return a UserError for a view that vitrun lacks."""
    return UserError(
        f"{name}: {file} describes a view of test images that vitrun lacks ({facts}). Choose one yourself: "
        "view.resize=..., view.crop=... and view.interpolation=... together.",
        ExitCode.CHECKPOINT,
    )
