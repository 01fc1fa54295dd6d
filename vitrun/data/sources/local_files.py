"""Images in files: on the Hub, or in a folder with parquet files in the Hub's layout or with a folder per class."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from vitrun import recipes
from vitrun.data.labels import LABEL_MAPPINGS
from vitrun.data.sources import folders
from vitrun.data.sources.hub.snapshot import download_part
from vitrun.data.sources.messages import single_line, typed_override
from vitrun.data.sources.parquet.find import find_splits
from vitrun.data.sources.parquet.open import open_images_alone, open_table
from vitrun.data.sources.scan import Scan
from vitrun.data.split import Split
from vitrun.errors import ExitCode, UserError
from vitrun.recipes.data import set_group
from vitrun.runtime.console import Screen


def open_files(data: recipes.Files, part: str, screen: Screen, tick: Callable[[], None]) -> Split:
    """Return a part of a data set with its labels as ``data.labels`` says; without a ``path`` it is downloaded first.

    Raise UserError if it has another number of images or classes than published.
    """
    if data.path is None:
        data = download_part(name_splits(data), part, screen, tick)
    try:
        split = LABEL_MAPPINGS[data.labels](data, open_path(data, part, tick))
        check_image_count(data, part, len(split))
        if data.classes is not None and len(split.classes) != data.classes:
            raise UserError(
                f"{typed_override(data)} has {data.classes:,} classes, but its source has {len(split.classes):,}.",
                ExitCode.DATA,
            )
    except UserError as error:
        message = error.message + recipes.describe_origin(data.name, data.home, data.hub)
        raise UserError(message, error.status, error.option, error.value) from None
    return split


def open_unlabelled_files(data: recipes.Files, screen: Screen, tick: Callable[[], None]) -> Split:
    """Return the training images of tables, or of a folder with or without folders of classes; labels are -1.

    Without a ``path`` they are downloaded first.
    """
    if data.path is None:
        data = download_part(name_splits(data), "train", screen, tick)
    with reading_folder(data):
        if not holds_tables(data):
            return replace(folders.open_unsorted(data), exif=data.exif)
        split = open_images_alone(name_splits(data), "train", tick)
    check_image_count(data, "train", len(split))
    return replace(split, exif=data.exif)


def pending_download(data: recipes.Files, part: str) -> str | None:
    """Return where a part would be downloaded from; None if it lies in ``data.path``."""
    return None if data.path is not None else f"{data.hub}, as published: not downloaded"


def open_path(data: recipes.Files, part: str, tick: Callable[[], None] = lambda: None) -> Split:
    """Return a part of the files in ``data.path``; a scan of many files calls ``tick``."""
    with reading_folder(data):
        if holds_tables(data):
            split = open_table(name_splits(data), part, tick)
        else:
            split = folders.open_folders(data, part)
        return replace(split, exif=data.exif, classes=tuple(map(single_line, split.classes)))


def name_splits(data: recipes.Files) -> recipes.Files:
    """Return the data set with ``train`` and ``test`` for the splits of tables that ``auto`` stands for."""
    train = "train" if data.train == recipes.AUTO else data.train
    named = replace(data, train=train, test="test" if data.test == recipes.AUTO else data.test)
    return set_group(named, data.group)


def holds_tables(data: recipes.Files) -> bool:
    """Return whether parquet files in ``data.path`` hold the images, and are not tables about those in class folders.

    They are where a split that they hold is named, or where there are no class folders.
    """
    if recipes.AUTO in (data.train, data.test) and has_class_folders(data.folder):
        return False
    return bool(find_splits(data.folder, None))


def has_class_folders(root: Path) -> bool:
    """Return whether a folder has images in several class folders, or in those of a part."""
    scan = Scan(root)
    full = [name for name in scan.list_folders() if scan.has_images(name)]
    return len(full) > 1 or any(map(scan.has_class_folders, full))


@contextmanager
def reading_folder(data: recipes.Files) -> Iterator[None]:
    """Raise UserError if ``data.path`` is the root of the file system, or if something in it cannot be listed."""
    if data.folder == data.folder.parent:
        raise UserError(
            "is the whole file system. Give the folder of the images.",
            ExitCode.DATA,
            f"{data.group}.path",
            str(data.path),
        )
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot list {error.filename or 'it'}: {error.strerror}. Make it readable, or give a folder that holds "
            "the images alone.",
            ExitCode.DATA,
            f"{data.group}.path",
            str(data.path),
        ) from None


def check_image_count(data: recipes.DescribedDataset, part: str, number: int) -> None:
    """Raise UserError if a part has another number of images than published."""
    published = data.train_images if part == "train" else data.test_images
    if published is not None and number != published:
        raise UserError(
            f"{typed_override(data)} has {published:,} {part} images as published, but its source has {number:,}. "
            f"Download it again or, if this is what you mean, add {data.group}.{part}_images={number}",
            ExitCode.DATA,
        )
