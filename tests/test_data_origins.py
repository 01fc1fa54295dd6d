"""Every published data set says where it comes from and whether an account is needed, above all where it is missing."""

import re

import pytest
from test_data_table import ROWS, shown
from test_files import flat, parquet

from vitrun import data, start
from vitrun.data.originals import PUBLISHED
from vitrun.data.vtab import tasks
from vitrun.mistakes import Exit, Mistake

OWN = ("folder", "parquet", "shards")  # the rows for what anybody has
NAMES = [name for name, row in ROWS.items() if row["source"] in ("files", "shards") and name not in OWN]


@pytest.mark.parametrize("name", NAMES)
def test_a_published_set_says_where_it_comes_from_if_an_account_is_needed_and_if_no_revision_is_pinned(name, capsys):
    row = ROWS[name]
    assert re.search(r"https://.* account .*needed", row["home"]) and row["home"] in shown(capsys, name)
    assert (row["licence"] == "gated") == ("no account" not in row["home"])
    assert ("huggingface.co" in row["home"]) == ("no revision is pinned" in row["home"])
    assert not row.get("hub") or row["hub"] in shown(capsys, name).splitlines()[-1]


@pytest.mark.parametrize("task", tasks.TASKS)
def test_a_task_of_vtab_shows_what_its_folder_has_where_that_comes_from_and_if_an_account_is_needed(task, capsys):
    published = PUBLISHED[tasks.TASKS[task].builder]
    said = shown(capsys, f"vtab/{task}")
    assert published.layout in said and f"{published.page} ({published.account})" in said
    assert "needed" in published.account


ABSENT = {
    "nowhere": lambda root: root.rmdir(),
    "empty": lambda root: None,
    "of images without class folders": flat,
    "of another split": lambda root: parquet(root / "other.parquet"),
}


@pytest.mark.parametrize("kind", ABSENT)
@pytest.mark.parametrize("name", ["pets", "imagenet", "imagenet_a", "objectnet", "imagenet21k", *OWN])
def test_a_published_set_that_is_not_there_says_where_it_comes_from_and_one_of_ones_own_does_not(kind, name, tmp_path):
    ABSENT[kind](tmp_path)
    words = [name, f"data.path={tmp_path}", *["data.classes=2"] * (name == "shards")]
    with pytest.raises(Mistake) as error:
        data.open_split(start.load("data", words).data, "test")
    sentence, home, hub = str(error.value), ROWS[name]["home"], ROWS[name].get("hub")
    assert error.value.status == Exit.DATA and str(tmp_path) in sentence and "\n" not in sentence
    assert sentence.count(f" {name} comes from {home}") == bool(home) == sentence.count("comes from")
    assert not hub or f"; without a path it is read from {hub} on the Hub." in sentence
