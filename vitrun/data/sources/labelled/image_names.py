"""Files of images by the names that a table has for them."""

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vitrun import recipes
from vitrun.data.sources.messages import abbreviate
from vitrun.data.sources.scan import Scan
from vitrun.errors import ExitCode, UserError
from vitrun.runtime.file_kinds import IMAGE_SUFFIXES

MOST_TRIED = 100  # names, evenly spread, by which the folder of a table's images is found


@dataclass
class ImageNames:
    """Images below a folder by names that may lack the suffix of the file, as ids in a table do."""

    base: str
    listed: dict[str, dict[str, list[str]]] = field(default_factory=dict)  # by folder: files of each name

    def find(self, name: str) -> str:
        """Return the path of the image of a name; it may be that of no file. Raise UserError if several have it."""
        path = os.path.join(self.base, name)
        if "\\" in name and not os.path.isfile(path):
            path = os.path.join(self.base, name.replace("\\", "/"))
        if os.path.isfile(path) or os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES:
            return path
        folder, stem = os.path.split(path)
        files = self.list_images(folder).get(stem, [])
        if len(files) > 1:
            where = f"{abbreviate(files)} in {folder}"
            raise UserError(f"{name} stands for {where}: write the suffix into the table.", ExitCode.DATA)
        return os.path.join(folder, files[0]) if files else path

    def list_images(self, folder: str) -> dict[str, list[str]]:
        """Return the files of images in a folder by their names without suffix."""
        if folder not in self.listed:
            files = defaultdict(list)
            for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
                stem, suffix = os.path.splitext(name)
                if suffix.lower() in IMAGE_SUFFIXES:
                    files[stem].append(name)
            self.listed[folder] = files
        return self.listed[folder]


def find_images(data: recipes.Table, table: Path, names: Sequence[str]) -> tuple[ImageNames, str]:
    """Return the images of a table, and a note if their folder is a guess.

    They are in ``data.images``, else beside the table, else in the folder there that has its name, or in the only one
    that has some of them. Raise UserError if there are none, or if several folders have some.
    """
    tried = names[:: -(-len(names) // MOST_TRIED)]

    def has_some(images: ImageNames) -> bool:
        return any(os.path.isfile(images.find(name)) for name in tried)

    given = ImageNames(str(data.images or table.parent))
    if has_some(given):
        return given, ""
    if data.images is None:
        inside = [ImageNames(str(table.parent / name)) for name in Scan(table.parent).list_folders()]
        full = [images for images in inside if has_some(images)]
        full = [images for images in full if os.path.basename(images.base) == table.stem] or full
        if len(full) == 1:
            return full[0], f"the images of {table.name} are in {full[0].base} ({data.group}.images)"
        if full:
            where = abbreviate([images.base for images in full])
            raise UserError(f"Images of {table} are in {where}: add {data.group}.images=FOLDER.", ExitCode.DATA)
    way_out = f"add {data.group}.images=FOLDER, the folder that their names start from"
    if recipes.is_url(names[0]):
        way_out = "the table names URLs: download them first"
    raise UserError(
        f"None of the {len(names):,} images of {table} is there, such as {names[0]}: {way_out}.", ExitCode.DATA
    )
