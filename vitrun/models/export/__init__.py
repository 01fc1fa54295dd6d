"""A network in the form that another library reads, with a card that says what it is."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from safetensors import SafetensorError
from torch import nn

from vitrun.errors import ExitCode, UserError, lookup
from vitrun.models.export.hugging_face_folder import write_hugging_face
from vitrun.models.export.npz_file import write_npz
from vitrun.models.export.onnx_file import write_onnx
from vitrun.models.export.timm_folder import write_timm
from vitrun.recipes import BiT, Timm, ViT

Writer = Callable[[Path, nn.Module, ViT | BiT | Timm, Sequence[str], int], None]
FOLDER_WRITERS: dict[str, Writer] = {"timm": write_timm, "hf": write_hugging_face}
FILE_WRITERS: dict[str, Writer] = {"npz": write_npz, "onnx": write_onnx}


def export_model(
    network: nn.Module,
    model: ViT | BiT | Timm,
    classes: int,
    res: int,
    to: str,
    path: Path,
    card: str,
    names: Sequence[str] = (),
) -> None:
    """Write ``network`` as ``to`` (timm, hf, npz or onnx) at ``path``, whole or not at all, with ``card`` beside it.

    timm and hf keep the ``names`` of the classes; where there are none they are numbers.

    timm and hf make a folder with the card as its README.md; npz and onnx a file with the card as ``NAME.md`` by it. A
    UserError where the other library has no such network, or ``path`` is taken.
    """
    writer = lookup({**FOLDER_WRITERS, **FILE_WRITERS}, to, "form of export")
    path = Path(path)
    if to in FILE_WRITERS and path.suffix != f".{to}":
        raise UserError(f"path={path}: an export to={to} is a file that ends in .{to}.")
    if path.exists():
        raise UserError(f"path={path} exists already. Choose another, or delete it.")
    aside = path.with_name(f".exporting-{path.name}")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir(parents=True)
        made = aside if to in FOLDER_WRITERS else aside / path.name
        writer(made, network.eval(), model, names or [str(number) for number in range(classes)], res)
        readme = aside / ("README.md" if to in FOLDER_WRITERS else f"{path.stem}.md")
        readme.write_text(card, encoding="utf-8")
        if to in FILE_WRITERS:
            readme.replace(path.with_suffix(".md"))
        made.replace(path)
    except (OSError, SafetensorError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(f"path={path} cannot be written: {why}.", ExitCode.SPACE) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
