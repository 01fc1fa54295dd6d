"""The files of the weights in a folder of timm or transformers, found without torch."""

from dataclasses import dataclass, field
from pathlib import Path

from blake3 import blake3

from vitrun.errors import ExitCode, UserError
from vitrun.runtime.files import hash_file, parse_json, read_small_text

CONFIG_FILE = "config.json"
OPEN_CLIP_CONFIG = "open_clip_config.json"
# Read beside the tensors
DESCRIPTIONS = {"config": CONFIG_FILE, "preprocessor": "preprocessor_config.json", "open_clip": OPEN_CLIP_CONFIG}
OPEN_CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")  # both towers of a CLIP
PLAIN_FILES = ("model.safetensors", "pytorch_model.bin")
# The first that there is, alone or in parts, is read; timm's folders of a CLIP have its image tower beside
WEIGHTS_FILES = (*OPEN_CLIP_FILES, *PLAIN_FILES)
INDEX_SUFFIX = ".index.json"  # of the file that says which part has which tensor


@dataclass(frozen=True)
class FolderFiles:
    """The files of one set of weights: a single one, or the parts of an index."""

    parts: list[Path]
    part_of: dict[str, Path] = field(default_factory=dict)  # tensor -> its part; empty for a single file
    index: Path | None = None  # the file that says so


def list_weights_files(folder: Path) -> FolderFiles | None:
    """Return the files with the weights of a folder; None if it has none. Raise a UserError if its index is wrong."""
    for name in WEIGHTS_FILES:
        if (folder / name).is_file():
            return FolderFiles([folder / name])
        if (folder / f"{name}{INDEX_SUFFIX}").is_file():
            return read_index(folder / f"{name}{INDEX_SUFFIX}")
    return None


def read_index(path: Path) -> FolderFiles:
    """Return the parts that an index lists. Raise a UserError if it is damaged, or if a part is missing."""
    try:
        names = {str(tensor): str(name) for tensor, name in parse_json(read_small_text(path))["weight_map"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"this is not an index of weights: {type(error).__name__} {error}."
        raise UserError(f"{path}: {why}", ExitCode.CHECKPOINT) from None
    if not names:
        raise UserError(f"{path}: this index lists no tensors: fetch the whole folder.", ExitCode.CHECKPOINT)
    if outside := [name for name in names.values() if Path(name).name != name]:
        raise UserError(f"{path}: it names {outside[0]}, which is not in this folder.", ExitCode.CHECKPOINT)
    parts = sorted({path.parent / name for name in names.values()})
    if missing := [part.name for part in parts if not part.is_file()]:
        why = f"{len(missing)} of its {len(parts)} parts are missing, as {missing[0]}: fetch the whole folder."
        raise UserError(f"{path}: {why}", ExitCode.CHECKPOINT)
    return FolderFiles(parts, {tensor: path.parent / name for tensor, name in names.items()}, path)


def is_weights_folder(path: Path) -> bool:
    """Return whether a folder has ``config.json``, or weights by the names of timm, transformers and open_clip."""
    files = [CONFIG_FILE, *WEIGHTS_FILES, *(f"{name}{INDEX_SUFFIX}" for name in WEIGHTS_FILES)]
    return any((path / name).is_file() for name in files)


def hash_weights(path: Path) -> str:
    """Return the BLAKE3 hash of a file, or of every file that is read of a folder, in hex; they must be there."""
    if path.is_file():
        return hash_file(path)
    files = list_weights_files(path) or FolderFiles([])
    described = [path / name for name in DESCRIPTIONS.values() if (path / name).is_file()]
    hashed = [*files.parts, *described, *([files.index] if files.index else [])]
    digests = [f"{file.name} {hash_file(file)}\n" for file in hashed]
    return blake3("".join(digests).encode()).hexdigest()
