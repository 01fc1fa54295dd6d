"""The view of test images in the words of other libraries, and what they have no words for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import floor, nextafter

from vitrun.models.network import Network
from vitrun.models.tensor_files import JsonObject
from vitrun.models.timm_wrapper import TimmNetwork
from vitrun.recipes import View

WHOLE_IMAGE = View(resize="squash", crop=1.0, antialias=True, interpolation="bilinear", fill=(128, 128, 128))
TIMM_MODES = {"square": "squash", "squash": "squash", "border": "border"}  # view.resize -> crop_mode; else center
RESAMPLES = {"bilinear": 2, "bicubic": 3}  # PIL's numbers
AS_ROUNDED = {  # which views a library rounds alike
    "timm": ("squash", "shortest", "border"),
    "hf": ("shortest_edge", "rectangle", "rectangle_16"),
    "open_clip": ("squash", "shortest", "shortest_edge"),
}
ONE_PIXEL = "sides and crops are rounded otherwise, by up to one pixel"


@dataclass(frozen=True)
class Description:
    """What the files of an export say beside the tensors: the names of the classes, and the view of test images.

    ``test_res`` is the side of test images and ``view`` theirs where it is not that of training; ``train_crop`` is then
    the crop at the side of training.
    """

    names: Sequence[str] = ()
    view: View = field(default=WHOLE_IMAGE)
    test_res: int | None = None
    train_crop: float | None = None


def image_statistics(network: Network) -> tuple[list[float], list[float]]:
    """Return mean and std of the images in [0, 1] that the exported network takes."""
    if not isinstance(network, TimmNetwork):
        return [0.5] * 3, [0.5] * 3
    std = 0.5 / network.scale.flatten()
    return (0.5 - network.shift.flatten() * std).tolist(), std.tolist()


def resized_side(view: View, res: int) -> int:
    """Return the side of the resized image, of which the central ``res`` pixels are shown."""
    side = res / view.crop
    return round(side) if view.resize in ("square", "small", "small_area") else floor(side)


def crop_share(view: View, res: int) -> float:
    """Return the crop for a library that resizes to ``floor(res / crop)``."""
    resized = resized_side(view, res)
    if floor(res / view.crop) == resized:
        return view.crop
    share = res / resized
    return share if floor(res / share) == resized else nextafter(share, 0)


def timm_view(description: Description, res: int) -> JsonObject:
    """Return the view as keys of timm's ``pretrained_cfg``."""
    view, side = description.view, description.test_res
    config = {
        "input_size": [3, res, res],
        "interpolation": view.interpolation,
        "crop_pct": crop_share(view, res),
        "crop_mode": TIMM_MODES.get(view.resize, "center"),
    }
    if side is None or side == res:
        return config
    test = {"test_input_size": [3, side, side], "test_crop_pct": crop_share(view, side)}
    return config | {"crop_pct": description.train_crop or view.crop} | test


def processor_view(view: View, res: int) -> JsonObject:
    """Return the view as keys of an image processor of transformers, whose kind depends on it."""
    resized = resized_side(view, res)
    config = {"do_resize": True, "resample": RESAMPLES[view.interpolation]}
    crop = {"do_center_crop": True, "crop_size": {"height": res, "width": res}}
    if TIMM_MODES.get(view.resize) != "squash":
        return {"image_processor_type": "CLIPImageProcessor", **config, "size": {"shortest_edge": resized}, **crop}
    size = {"size": {"height": resized, "width": resized}}
    if resized == res:
        return {"image_processor_type": "ViTImageProcessor", **config, **size}
    return {"image_processor_type": "DeiTImageProcessor", **config, **size, **crop}


def list_losses(view: View, to: str, mean: Sequence[float]) -> list[str]:
    """Return what the files of an export ``to`` a library cannot say of the view, one clause each.

    ``mean`` is that of the images that the network takes, the colour of timm's borders.
    """
    if to == "npz":  # vitrun's own mark in it says all
        return ["only vitrun reads the view in an .npz"]
    if to == "onnx":
        return ["an .onnx has no view"]
    losses = []
    if view.resize == "small_area":
        losses.append(f"pixels are interpolated ({view.interpolation}), not means of areas")
    elif not view.antialias:
        losses.append("images are resized with antialias")
    if to == "open_clip" and view.crop < 1:
        losses.append("open_clip shows the whole shorter side")
    if view.resize == "border" and to in ("hf", "open_clip"):
        losses.append("images are cropped instead of bordered")
    elif view.resize not in AS_ROUNDED[to] and (view.crop < 1 or TIMM_MODES.get(view.resize) != "squash"):
        losses.append(ONE_PIXEL)
    elif view.resize == "border" and [*view.fill] != (fill := [round(255 * value) for value in mean]):
        losses.append(f"the border has the colour {fill}, not {[*view.fill]}")
    return losses
