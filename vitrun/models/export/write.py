"""Write a network in the format of another library, with a model card."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from vitrun.errors import UserError, lookup
from vitrun.models.detector import Detector
from vitrun.models.export.clip_folders import write_open_clip
from vitrun.models.export.hugging_face_folder import write_hugging_face
from vitrun.models.export.npz_file import write_npz
from vitrun.models.export.obstacles import check_format
from vitrun.models.export.onnx_file import write_onnx
from vitrun.models.export.timm_folder import write_timm
from vitrun.models.export.view import Description
from vitrun.models.network import Network
from vitrun.runtime.outputs import check_replaceable, unwritable_error, write_output

Writer = Callable[[Path, Network, Description, int], None]
FOLDER_WRITERS: dict[str, Writer] = {"timm": write_timm, "hf": write_hugging_face, "open_clip": write_open_clip}
FILE_WRITERS: dict[str, Writer] = {"npz": write_npz, "onnx": write_onnx}


class Target(NamedTuple):
    """Where to write an export, and whether it may replace one that vitrun wrote there."""

    path: Path
    force: bool = False


def export_model(
    network: Network,
    res: int,
    to: str,
    target: Target | Path,
    card: str,
    description: Description = Description(),
) -> bool:
    """Write ``network``, for images of side ``res``, in the format ``to``: timm, hf, open_clip, npz or onnx.

    timm, hf and open_clip make the folder ``path`` with the ``card`` as its README.md; they store the names of the
    classes, or numbers if there are none, and the view of test images. npz and onnx make the file ``path``, with the
    card beside it as ``NAME.md``. Return whether that was needed: not if the same export is there. Raise a UserError if
    the other library has no such network, or if ``path`` exists and is not an export of vitrun that ``target`` allows
    to replace.
    """
    writer = lookup({**FOLDER_WRITERS, **FILE_WRITERS}, to, "export format", "to")
    check_format(network, to)
    path, force = target if isinstance(target, Target) else (target, False)
    if to in FILE_WRITERS and path.suffix != f".{to}":
        raise UserError(f"an export to={to} is a file, and its name must end in .{to}.", option="path", value=str(path))
    card_file = path.with_suffix(".md")
    for file in (path, card_file) if to in FILE_WRITERS else (path,):
        check_replaceable(file, "path")
    if not description.names:
        classes = network.head.out_features - isinstance(network, Detector)  # whose last output is "no object"
        description = replace(description, names=[str(number) for number in range(classes)])

    def write(partial: Path) -> None:
        if to in FOLDER_WRITERS:
            partial.mkdir()
            (partial / "README.md").write_text(card, encoding="utf-8")
        writer(partial, network.eval(), description, res)

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = write_output(path, write, "path", force)
        if to in FILE_WRITERS:
            is_new |= write_output(card_file, lambda partial: partial.write_text(card, encoding="utf-8"), "path", force)
        return is_new
    except OSError as error:
        raise unwritable_error(path, "path", error) from error
