"""The kinds of the values in the JSON files of timm, transformers and open_clip."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vitrun.errors import ExitCode, UserError

MAX_VALUE = 60  # characters of a value in a message


def is_whole(value: Any) -> bool:
    """Return whether a value is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Return whether a value is a number."""
    return is_whole(value) or isinstance(value, float)


def is_list(value: Any, *lengths: int, of: Callable[[Any], bool]) -> bool:
    """Return whether a value is a list of one of these lengths, or of any if none is given, of such values."""
    return isinstance(value, list) and (not lengths or len(value) in lengths) and all(map(of, value))


def is_text(value: Any) -> bool:
    """Return whether a value is text."""
    return isinstance(value, str)


KINDS: dict[str, Callable[[Any], bool]] = {
    "text": is_text,
    "true or false": lambda value: isinstance(value, bool),
    "a whole number": is_whole,
    "a number": is_number,
    "one or two whole numbers": lambda value: is_whole(value) or is_list(value, 2, of=is_whole),
    "a list of three whole numbers": lambda value: is_list(value, 3, of=is_whole),
    "a list of numbers": lambda value: is_list(value, of=is_number),
    "one or three numbers": lambda value: is_number(value) or is_list(value, 1, 3, of=is_number),
    "an object": lambda value: isinstance(value, dict),
    "a list of texts": lambda value: is_list(value, of=is_text),
    "text or a list of texts": lambda value: is_text(value) or is_list(value, of=is_text),
    "a list or an object of names": lambda value: isinstance(value, list | dict),
    "an object of names by number": lambda value: isinstance(value, dict) and all(map(str.isdecimal, value)),
}
CONFIG = {  # key of config.json -> its kind
    "architecture": "text",
    "architectures": "a list of texts",
    "hidden_act": "text",
    "hidden_size": "a whole number",
    "id2label": "an object of names by number",
    "image_size": "one or two whole numbers",
    "intermediate_size": "a whole number",
    "label_names": "a list or an object of names",
    "layer_norm_eps": "a number",
    "model_args": "an object",
    "model_type": "text",
    "num_attention_heads": "a whole number",
    "num_channels": "a whole number",
    "num_hidden_layers": "a whole number",
    "patch_size": "one or two whole numbers",
    "pooler_act": "text",
    "pretrained_cfg": "an object",
    "qkv_bias": "true or false",
    "vitrun_epsilon": "a number",
}
PRETRAINED_CFG = {  # key of timm's pretrained_cfg -> its kind
    "classifier": "text or a list of texts",
    "crop_mode": "text",
    "crop_pct": "a number",
    "input_size": "a list of three whole numbers",
    "interpolation": "text",
    "label_names": "a list or an object of names",
    "mean": "a list of numbers",
    "std": "a list of numbers",
    "test_crop_pct": "a number",
    "test_input_size": "a list of three whole numbers",
}
PROCESSOR = {  # key of preprocessor_config.json -> its kind
    "do_center_crop": "true or false",
    "do_normalize": "true or false",
    "do_rescale": "true or false",
    "do_resize": "true or false",
    "feature_extractor_type": "text",
    "image_mean": "one or three numbers",
    "image_processor_type": "text",
    "image_std": "one or three numbers",
    "resample": "a whole number",
    "rescale_factor": "a number",
}
OPEN_CLIP = {"model_cfg": "an object", "preprocess_cfg": "an object", "vitrun_tokens": "text"}
OPEN_CLIP_MODEL = {  # key of model_cfg in open_clip_config.json -> its kind
    "embed_dim": "a whole number",
    "quick_gelu": "true or false",
    "text_cfg": "an object",
    "vision_cfg": "an object",
}
OPEN_CLIP_TOWER = {"head_width": "a whole number", "heads": "a whole number"}  # of vision_cfg and text_cfg
OPEN_CLIP_VIEW = {"mean": "a list of numbers", "std": "a list of numbers", "interpolation": "text"}  # of preprocess_cfg
TOWERS = ("vision_config", "text_config")  # in config.json of transformers' CLIPModel


def check_config(path: Path | str, file: str, config: Mapping[str, Any]) -> None:
    """Raise a UserError that names a key of a file in the folder ``path`` whose value is of another kind than it has.

    None is as if the key were not there.
    """
    if file == "preprocessor_config.json":
        check_kinds(path, file, config, PROCESSOR)
        return
    if file == "open_clip_config.json":
        check_kinds(path, file, config, OPEN_CLIP)
        model = config.get("model_cfg") or {}
        check_kinds(path, f"{file} (model_cfg)", model, OPEN_CLIP_MODEL)
        for tower in ("vision_cfg", "text_cfg"):
            check_kinds(path, f"{file} ({tower})", model.get(tower) or {}, OPEN_CLIP_TOWER)
        check_kinds(path, f"{file} (preprocess_cfg)", config.get("preprocess_cfg") or {}, OPEN_CLIP_VIEW)
        return
    check_kinds(path, file, config, CONFIG | dict.fromkeys(TOWERS, "an object"))
    for tower in TOWERS:
        check_kinds(path, f"{file} ({tower})", config.get(tower) or {}, CONFIG)
    check_kinds(path, file, config, PRETRAINED_CFG)  # of old folders of timm, which have these keys at the top
    check_kinds(path, f"{file} (pretrained_cfg)", config.get("pretrained_cfg") or {}, PRETRAINED_CFG)


def check_kinds(path: Path | str, where: str, config: Mapping[str, Any], kinds: Mapping[str, str]) -> None:
    """Raise a UserError if a value is of another kind than that of its key."""
    for key, kind in kinds.items():
        value = config.get(key)
        if value is not None and not KINDS[kind](value):
            shown = f"{value!r}"[:MAX_VALUE]
            raise UserError(f"{path}: {where} has {key}={shown}, which must be {kind}.", ExitCode.CHECKPOINT)
