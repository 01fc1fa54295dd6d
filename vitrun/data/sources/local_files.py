"""A data set in a local folder: parquet files in the Hub's layout, or a folder a class."""

from vitrun import recipes
from vitrun.data.labels import LABEL_MAPPINGS
from vitrun.data.sources import folders
from vitrun.data.sources.parquet import find_parquet_files, open_parquet
from vitrun.data.split import Split
from vitrun.errors import ExitCode, UserError


def open_files(data: recipes.Files, part: str) -> Split:
    """One part of a data set with its labels as ``data.labels`` says; a UserError where it is not as published."""
    try:
        split = LABEL_MAPPINGS[data.labels](data, open_path(data, part))
        check_image_count(data, part, len(split))
        if data.classes is not None and len(split.classes) != data.classes:
            raise UserError(
                f"{data.group}={data.name} has {data.classes:,} classes, but its source has {len(split.classes):,}.",
                ExitCode.DATA,
            )
    except UserError as error:
        message = error.message + recipes.describe_origin(data.name, data.home, data.hub)
        raise UserError(message, error.status, error.option, error.value) from None
    return split


def open_path(data: recipes.Files, part: str) -> Split:
    """One part as the files in ``data.path`` have it."""
    if any(find_parquet_files(data.path)):
        return open_parquet(data, part)
    return folders.open_folders(data, part)


def check_image_count(data: recipes.DescribedDataset, part: str, found: int) -> None:
    """A UserError where a part has another number of images than is published."""
    published = data.train_images if part == "train" else data.test_images
    if published is not None and found != published:
        raise UserError(
            f"{data.group}={data.name} has {published:,} {part} images as published, but its source has {found:,}: fetch it "
            f"again, or add {data.group}.{part}_images={found} where that is what you mean.",
            ExitCode.DATA,
        )
