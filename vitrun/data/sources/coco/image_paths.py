"""Find the files of the images that a JSON of COCO names."""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from vitrun.data.sources.named_files import measure_file
from vitrun.runtime.file_kinds import IMAGE_SUFFIXES
from vitrun.runtime.files import walk_files

MOST_TRIED = 50  # evenly spread images that are looked up to choose a folder


def choose_folder(folders: Sequence[Path], names: Sequence[str]) -> Path:
    """Return the folder with the most files of a sample of ``names``; of equal ones the first."""
    tried = names[:: -(-len(names) // MOST_TRIED)]

    def count(folder: Path) -> int:
        return sum(os.path.isfile(folder / clean_name(name)) for name in tried)

    return max(folders, key=count)


def list_folders(file: Path, root: Path) -> list[Path]:
    """Return the folders below ``root`` in which the images of ``file`` may be, likeliest first.

    For COCO's ``instances_val2017.json`` folders named ``val2017`` come first.
    """
    bases = [file.parent, file.parent / "images", root, root / "images"]
    folders = [*bases]
    for base in bases:
        if base.is_dir():
            folders += sorted(entry for entry in base.iterdir() if entry.is_dir() and entry.name[0] != ".")
    own = file.stem.rpartition("_")[2]
    return sorted(dict.fromkeys(folders), key=lambda folder: folder.name != own)


def clean_name(name: str) -> str:
    """Return the name of a file with ``/`` in place of Windows' separators."""
    return name.replace("\\", "/")


def find_images(folder: Path, names: Sequence[str]) -> tuple[list[str], list[int]]:
    """Return the path of each image in ``folder``, and its size in bytes, -1 if there is no such file.

    An image that is not at its path may be elsewhere below the folder: the only one of that name, or else the only one
    of that name without suffix, as some programs write it.
    """
    paths = [os.path.join(folder, clean_name(name)) for name in names]
    sizes = [*map(measure_file, paths)]
    missing = [row for row, size in enumerate(sizes) if size < 0]
    if missing:
        files = index_files(folder)
        for row in missing:
            name = os.path.basename(paths[row])
            candidates = files.get(name) or files.get(os.path.splitext(name)[0], [])
            if len(candidates) == 1:
                paths[row] = candidates[0]
                sizes[row] = measure_file(paths[row])
    return paths, sizes


def index_files(folder: Path) -> dict[str, list[str]]:
    """Return the paths of the images below a folder by name, and by name without suffix."""
    files: dict[str, list[str]] = defaultdict(list)
    for path in walk_images(folder):
        name = os.path.basename(path)
        files[name].append(path)
        files[os.path.splitext(name)[0]].append(path)
    return files


def walk_images(folder: Path) -> Iterator[str]:
    """Yield the paths of the images below a folder."""
    yield from (str(path) for path in walk_files(folder) if path.suffix.lower() in IMAGE_SUFFIXES)
