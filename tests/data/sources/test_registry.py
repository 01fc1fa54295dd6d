"""The error for a missing data set says where to get it."""

import pytest

from helpers.images import write_flat_folder, write_parquet
from helpers.overrides import DATA_ROWS
from vitrun import data
from vitrun.config import resolve
from vitrun.errors import ExitCode, UserError

OWN = ("folder", "parquet", "shards")  # the rows for a user's own data
MISSING = {
    "nowhere": lambda root: root.rmdir(),
    "empty": lambda root: None,
    "of images without class folders": write_flat_folder,
    "of another split": lambda root: write_parquet(root / "other.parquet"),
}


@pytest.mark.parametrize("kind", MISSING)
@pytest.mark.parametrize("name", ["pets", "imagenet", "imagenet_a", "objectnet", "imagenet21k", *OWN])
def test_the_error_for_a_missing_data_set_says_where_published_ones_come_from(kind, name, tmp_path):
    MISSING[kind](tmp_path)
    overrides = [name, f"data.path={tmp_path}", *["data.classes=2"] * (name == "shards")]
    with pytest.raises(UserError) as error:
        data.open_split(resolve.resolve_recipe("data", overrides).data, "test")
    sentence, home, hub = str(error.value), DATA_ROWS[name]["home"], DATA_ROWS[name].get("hub")
    assert error.value.status == ExitCode.DATA and str(tmp_path) in sentence and "\n" not in sentence
    assert sentence.count(f" {name} comes from {home}") == bool(home) == sentence.count("comes from")
    assert not hub or f"; without a path it is read from {hub} on the Hub." in sentence
