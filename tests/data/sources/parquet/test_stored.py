"""Data sets on the Hub that have no parquet files, and labels that only both parts together number."""

import datasets

from helpers.images import make_png, write_class_folders, write_parquet
from helpers.small_hub import COMMIT
from vitrun import data
from vitrun.config import resolve
from vitrun.data.sources.hub import snapshot
from vitrun.data.sources.hub.listing import NoParquetFiles
from vitrun.errors import ExitCode


def open_part(part: str) -> data.Split:
    """Return a part of a data set on the Hub."""
    overrides = ["data=parquet", "data.hub=vit/cats", f"data.revision={COMMIT}"]
    return data.open_split(resolve.resolve_recipe("pretrain", overrides).data, part)


def test_a_set_of_image_folders_on_the_hub_is_read_by_the_reader_of_datasets(tmp_path, monkeypatch):
    def refuse(*_):
        raise NoParquetFiles("no parquet files", ExitCode.DATA)

    for part in ("train", "test"):
        write_class_folders(tmp_path / "set" / part, ["cat", "dog"], 3)
    load = datasets.load_dataset_builder
    monkeypatch.setattr(snapshot, "download_split", refuse)
    monkeypatch.setattr(
        datasets,
        "load_dataset_builder",
        lambda *_, **__: load("imagefolder", data_dir=str(tmp_path / "set"), cache_dir=str(tmp_path / "cache")),
    )
    split, test = open_part("train"), open_part("test")
    assert split.labels.tolist() == test.labels.tolist() == [0, 0, 0, 1, 1, 1] and split.classes == ("cat", "dog")
    assert split.keys[0] == "00000000/0.png", "keys do not depend on the place of the cache"


def test_both_parts_are_downloaded_where_the_labels_are_texts(tmp_path, monkeypatch):
    downloaded = []

    def download(row, part, screen, tick):
        downloaded.append(part)
        labels = {"train": ["dog", "ant"], "test": ["bee"]}[part]
        write_parquet(tmp_path / f"{part}.parquet", image=[make_png(n) for n in range(len(labels))], label=labels)
        return snapshot.replace(row, path=tmp_path)

    monkeypatch.setattr(snapshot, "download_split", download)
    assert open_part("train").classes == ("ant", "bee", "dog") and downloaded == ["train", "test"]
    assert open_part("test").labels.tolist() == [1]
