"""Read weights from a file, whose format its content tells, or from a folder."""

import re
import zipfile
from collections.abc import Callable
from pathlib import Path

from vitrun.errors import is_out_of_memory
from vitrun.models.tensor_files import torch_reader
from vitrun.models.tensor_files.npz_reader import read_npz
from vitrun.models.tensor_files.safetensors_reader import read_safetensors
from vitrun.models.tensor_files.tensors import JsonObject, Weights, damaged_error, format_keys, shorten, weights_error
from vitrun.models.tensor_files.torch_reader import read_torch
from vitrun.runtime.config_kinds import check_config
from vitrun.runtime.files import parse_json, read_small_text
from vitrun.runtime.weights_folder import (
    CONFIG_FILE,
    DESCRIPTIONS,
    OPEN_CLIP_CONFIG,
    OPEN_CLIP_FILES,
    PLAIN_FILES,
    FolderFiles,
    list_weights_files,
)

START_BYTES = 512  # of a file, by which its format is known
TORCH_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # torch.serialization.MAGIC_NUMBER, pickled
FOREIGN_FORMATS = (  # how a file begins -> what is wrong and what to do
    (b"<!doctype", "this is a web page, not weights: the download failed. Fetch it again."),
    (b"<html", "this is a web page, not weights: the download failed. Fetch it again."),
    (b"<?xml", "this is a web page, not weights: the download failed. Fetch it again."),
    (b"version https://git-lfs", "this is a pointer of git-lfs, not the file itself: run `git lfs pull`."),
    (b"\x89hdf", "this is HDF5, as of Keras: save its arrays by name with numpy.savez, and give the .npz."),
    (b"gguf", "this is GGUF: give the weights that it was made from, as .safetensors or as a file of torch.save."),
    (b"\x1f\x8b", "this is compressed with gzip: unpack it, and give the file in it."),
)
PART = re.compile(r"-\d{5}-of-(\d{5})\.\w+$")  # how Hugging Face names the parts of one set of weights


def read_weights(path: str | Path) -> Weights:
    """Return the tensors of a file of safetensors, numpy or ``torch.save``, or of a folder of timm or transformers.

    The content tells the format, not the name. Raise a UserError if there are no tensors, or if reading them could run
    code.
    """
    path = Path(path)
    if path.is_dir():
        return read_folder(path)
    if not path.is_file():
        raise weights_error(path, "no such file.")
    if (part := PART.search(path.name)) and int(part[1]) > 1:
        raise weights_error(path, f"this is one of {int(part[1])} parts of weights: give the folder, init=FOLDER.")
    return read_file(path)


def read_file(path: Path) -> Weights:
    """Return the tensors of one file."""
    try:
        return identify_format(path)(path)
    except OSError as error:
        if is_out_of_memory(error):
            raise
        raise weights_error(path, f"it cannot be read: {error.strerror or error}.") from None


def identify_format(path: Path) -> Callable[[Path], Weights]:
    """Return the reader of a file's format. Raise a UserError if its content is of none."""
    with path.open("rb") as file:
        start = file.read(START_BYTES)
    lower = start.lstrip().lower()
    for magic, why in FOREIGN_FORMATS:
        if lower.startswith(magic):
            raise weights_error(path, why)
    if start.startswith(b"PK"):
        return identify_archive(path)
    if start.startswith(TORCH_MAGIC):
        return read_torch
    if start[8:9] == b"{":  # after the length of the header
        return read_safetensors
    if start[257:262] == b"ustar":
        raise weights_error(path, "this is a tar archive: unpack it, and give the file in it.")
    if start.startswith(b"{"):
        raise weights_error(path, "this is JSON, which describes weights: give the folder that it lies in.")
    if start.startswith(b"\x80"):
        raise torch_reader.pickle_error(path)
    if not start.strip(b"\0"):
        raise weights_error(
            path, "the file is empty: fetch it again." if not start else "this file contains only zeros."
        )
    raise weights_error(
        path,
        "this is neither a .safetensors, nor an .npz of numpy, nor a file of torch.save, by its content: "
        "it was written by another program, or it is damaged.",
    )


def identify_archive(path: Path) -> Callable[[Path], Weights]:
    """Return the reader of a zip archive, of numpy or of torch. Raise a UserError for any other."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
    except Exception as error:
        raise damaged_error(path, "archive, as an .npz or a file of torch.save is", error) from None
    ends = {member.rpartition("/")[2] for member in members}
    if any(member.endswith(".npy") for member in members):
        return read_npz
    if "archive_format" in ends:
        raise torch_reader.program_error(path)
    if "constants.pkl" in ends:
        raise torch_reader.script_error(path, is_clip=any("/multimodal/" in member for member in members))
    if "data.pkl" in ends:
        return read_torch
    raise weights_error(path, f"this archive has no tensors, but {format_keys(members) or 'nothing'}: unpack it first.")


def read_folder(path: Path) -> Weights:
    """Return the weights of a folder of timm, transformers or open_clip, with its config in the metadata."""
    files = list_weights_files(path)
    is_open_clip = files is not None and files.parts[0].name in OPEN_CLIP_FILES
    if files is None or not (path / (OPEN_CLIP_CONFIG if is_open_clip else CONFIG_FILE)).is_file():
        content = format_keys(sorted(file.name for file in path.iterdir())) or "nothing"
        what = f"{CONFIG_FILE} and {' or '.join(PLAIN_FILES)} (or the parts of one and their index)"
        raise weights_error(path, f"a folder of weights has {what}; this one has {content}.")
    weights = read_parts(path, files) if files.part_of else read_file(files.parts[0])
    weights.metadata |= {key: read_config_json(path, f) for key, f in DESCRIPTIONS.items() if (path / f).is_file()}
    return weights


def read_parts(path: Path, files: FolderFiles) -> Weights:
    """Return the tensors of weights in parts. Raise a UserError if a part lacks a tensor that the index lists."""
    parts = {part: read_file(part) for part in files.parts}
    for name, part in files.part_of.items():
        if name not in parts[part]:
            raise weights_error(part, f"it lacks {shorten(name)}, which the index of its folder lists in it.")
    shapes = {name: parts[part].shapes[name] for name, part in files.part_of.items()}
    metadata = {key: value for part in parts.values() for key, value in part.metadata.items()}
    return Weights(path, shapes, lambda name: parts[files.part_of[name]][name], metadata)


def read_config_json(folder: Path, file: str) -> JsonObject:
    """Return the object in a JSON file of a folder, without the keys that are null.

    Raise a UserError if the file contains none, or if a value is of another kind than its key has.
    """
    try:
        config = dict(parse_json(read_small_text(folder / file)))
    except (ValueError, TypeError) as error:
        raise weights_error(folder / file, f"this is not a JSON object: {error}.") from None
    check_config(folder, file, config)
    return {key: value for key, value in config.items() if value is not None}
