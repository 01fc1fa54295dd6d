"""What the checkpoint of a training program says of its network, by ``arch`` and ``args`` of timm's CheckpointSaver.

Many programs write the same: the scripts of DeiT, the ImageNet example of PyTorch. A name that timm has is believed.
"""

from typing import Any

from vitrun.models.formats.timm_network import body_shapes, input_side, own_options
from vitrun.models.tensor_files import JsonObject, Weights
from vitrun.models.timm_wrapper import is_timm_model, pretrained_config
from vitrun.recipes import Timm

OPTIONS = {
    "gp": "global_pool",
    "bn_eps": "bn_eps",
    "img_size": "img_size",
    "in_chans": "in_chans",
}  # argument -> option
TESTING = ("test_input_size", "test_crop_pct")  # of published weights; who trains is tested as trained
MEAN_NOTE = "assumed, as the file does not say: images normalised as timm's default for {}"


def describe_checkpoint(weights: Weights) -> JsonObject:
    """Return what ``config.json`` of timm would say of the network in a checkpoint; an empty dict if it names none.

    Raise a ValueError for arguments from which timm could not make one.
    """
    facts = weights.metadata.get("checkpoint") or {}
    args = dict(facts["args"]) if isinstance(facts.get("args"), dict) else {}
    name = next((name for name in (args.get("model"), facts.get("arch")) if isinstance(name, str) and name), "")
    name = name.removeprefix("timm/")
    if not is_timm_model(name):
        return {}
    options = {option: args[key] for key, option in OPTIONS.items() if args.get(key) is not None}
    if isinstance(args.get("input_size"), int):  # of DeiT, where timm has channels, height and width
        options["img_size"] = args.pop("input_size")
    if not isinstance(own := args.get("model_kwargs") or {}, dict):
        raise ValueError(f"its args have model_kwargs={own!r}, which are not named options")
    options |= own
    return {"architecture": name, "model_args": options, "pretrained_cfg": resolve_data(name, args)}


def resolve_data(name: str, args: JsonObject) -> JsonObject:
    """Return timm's ``pretrained_cfg`` of a name, with what the arguments say of images, as timm resolves both."""
    from timm.data import resolve_data_config

    config: dict[str, Any] = pretrained_config(name).to_dict()
    try:
        resolved = resolve_data_config(args, config)
    except (AssertionError, TypeError, ValueError) as error:
        raise ValueError(f"its args say of images what timm cannot read: {error}") from error
    return {key: value for key, value in config.items() if key not in TESTING} | resolved


def fits(weights: Weights, config: JsonObject) -> bool:
    """Return whether the tensors are those of timm's network of this name, but for sizes that follow from images."""
    options, name = config["model_args"], config["architecture"].partition(".")[0]
    model = Timm(kind="timm", name=name, options=own_options(options))
    shapes = body_shapes(weights, model, input_side(weights, options, config["pretrained_cfg"]))
    return all(len(weights.shapes.get(key, ())) == len(shape) for key, shape in shapes.items()) and all(
        weights.shapes[key] == shape for key, shape in shapes.items() if "pos" not in key and "mask" not in key
    )


def list_assumptions(weights: Weights, name: str) -> list[str]:
    """Return a note on what a checkpoint does not say of its network."""
    args = weights.metadata["checkpoint"].get("args")
    return [] if isinstance(args, dict) and "mean" in args else [MEAN_NOTE.format(name)]
