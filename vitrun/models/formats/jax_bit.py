"""BiT in the layouts of big_transfer's TensorFlow dumps and of big_vision."""

from vitrun.models.formats.identify import name_model
from vitrun.models.formats.jax_resnet import count_units, map_norm
from vitrun.models.formats.mapping import IdentifiedWeights, TensorMapping, map_kernel, map_same, rename
from vitrun.models.tensor_files import Weights
from vitrun.recipes import BiT

TENSORFLOW_RENAMES = (  # names of the dumps -> those of big_vision (models/bit_paper.py)
    (r"/standardized_conv2d(_\d+)?/", "/"),
    (r"^resnet/root_block/kernel$", "root_block/conv_root/kernel"),
    (r"^resnet/group_norm/", "norm-pre-head/"),
    (r"^resnet/head/conv2d/", "head/"),
    (r"^resnet/", ""),
    (r"/a/proj/kernel$", "/conv_proj/kernel"),
    *((rf"/{letter}/kernel$", f"/conv{part}/kernel") for part, letter in enumerate("abc", 1)),
    *((rf"/{letter}/group_norm/", f"/gn{part}/") for part, letter in enumerate("abc", 1)),
    (r"/gamma$", "/scale"),
    (r"/beta$", "/bias"),
)


def recognise(weights: Weights) -> IdentifiedWeights | None:
    """Return the BiT in a file; None if its names are not of these layouts."""
    is_dump = any(name.startswith("resnet/root_block/") for name in weights)
    prefix = next((prefix for prefix in ("params/", "") if f"{prefix}root_block/conv_root/kernel" in weights), None)
    if is_dump:
        prefix = ""
    if prefix is None:
        return None
    weights, ignored = rename_tensors(weights, prefix)
    shapes = weights.shapes
    model = name_model(
        BiT(
            kind="bit",
            name="",
            blocks=count_units(shapes),  # type: ignore[arg-type]  # pydantic checks that there are four
            width_factor=shapes["root_block/conv_root/kernel"][-1] / 64,
            border="zero" if is_dump else "none",
        )
    )
    classes = shapes["head/bias"][0] if "head/bias" in shapes else None
    return IdentifiedWeights(weights, model, None, classes, map_tensors(model), ignored)


def rename_tensors(weights: Weights, prefix: str) -> tuple[Weights, dict[str, list[str]]]:
    """Return the tensors by big_vision's names, and the names of tensors that are not used, by reason."""
    unused = [name for name in weights if name.startswith("io/")]
    sources = {rename(name.removeprefix(prefix), TENSORFLOW_RENAMES): name for name in weights if name not in unused}
    return weights.rename(sources), {"inputs and outputs": unused} if unused else {}


def map_tensors(model: BiT) -> list[TensorMapping]:
    """Return the mapping of each tensor, by big_vision's names."""
    mappings = [map_kernel("stem.conv.weight", "root_block/conv_root/kernel")]
    for stage, blocks in enumerate(model.blocks):
        for unit in range(blocks):
            ours, theirs = f"stages.{stage}.blocks.{unit}", f"block{stage + 1}/unit{unit + 1:02d}"
            for part in (1, 2, 3):
                mappings.append(map_kernel(f"{ours}.conv{part}.weight", f"{theirs}/conv{part}/kernel"))
                mappings += map_norm(f"{ours}.norm{part}", f"{theirs}/gn{part}", ones=3)
            if unit == 0:
                mappings.append(map_kernel(f"{ours}.downsample.conv.weight", f"{theirs}/conv_proj/kernel"))
    return [*mappings, *map_norm("norm", "norm-pre-head", ones=3), map_head(), map_same("head.bias", "head/bias")]


def map_head() -> TensorMapping:
    """Map the head's weight [C, D] and a dense kernel [D, C]; read the kernel of a 1x1 convolution [1, 1, D, C] too."""
    return TensorMapping("head.weight", ("head/kernel",), lambda k: k.flatten(0, -2).T, lambda weight: (weight.T,))
