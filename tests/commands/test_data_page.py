"""data with show=: a page of what training and testing see of a data set, and of what is in it."""

import re

import pytest

from helpers.images import make_png, write_class_folders
from vitrun.commands import list_data
from vitrun.config import resolve, unused
from vitrun.errors import ExitCode, UserError
from vitrun.runtime.console import Screen

HOSTILE = "<img src=x onerror=alert(1)>"


def write_page(*overrides: str) -> dict:
    """Return the result of ``vitrun data``."""
    return list_data.execute(resolve.resolve_recipe("data", [*overrides]), Screen(quiet=True))


def read_facts(page: str) -> dict[str, str]:
    """Return the facts of a page by name."""
    return dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page.replace("<wbr>", "")))


def test_the_page_shows_views_counts_sizes_copies_and_unreadable_images_before_it_fails(tmp_path):
    write_class_folders(tmp_path / "train", ["cat", "dog"], 3)
    write_class_folders(tmp_path / "test", [HOSTILE, "cat", "dog"], 2)
    (tmp_path / "train" / HOSTILE).mkdir()
    (tmp_path / "train" / HOSTILE / "1.png").write_bytes(make_png(99))
    (tmp_path / "train" / "dog" / "twin.png").write_bytes(make_png(0))  # train/cat/0.png, and the first of test
    (tmp_path / "train" / "dog" / "bad.png").write_bytes(make_png(0)[:-30])
    file = tmp_path / "page.html"
    with pytest.raises(UserError, match="dog/bad.png is not a readable image") as error:
        write_page("folder", f"data.path={tmp_path}", "show=4", "augment=light1", f"save={file}")
    assert error.value.status == ExitCode.DATA
    page = file.read_text()
    facts = read_facts(page)
    assert HOSTILE not in page and "bad.png is not a readable image" in page.replace("<wbr>", "")
    assert len(re.findall(r", view \d", page)) == 4 * 5 and "augment.layers=2" in page
    assert facts["train: all"] == "8 x 8 px" and facts["train"] == "3 of 3 classes, 1 to 5 images each"
    assert facts["train: copies of another train image"] == "1" and facts["of these with different labels"] == "3"
    assert facts["test images that are training images too"] == "6", "those of the first seeds"
    with pytest.raises(UserError) as error:
        write_page("folder", f"data.path={tmp_path}", "show=4", f"save={file}")
    assert error.value.option == "save"


def test_a_set_in_memory_has_a_page_at_the_side_of_its_images(tmp_path):
    result = write_page("digits", "show=2", f"save={tmp_path / 'page.html'}")
    page = (tmp_path / "page.html").read_text()
    assert result["page"].endswith("page.html") and [row["images"] for row in result["splits"]] == [1297, 500]
    assert "8 x 8 pixels" in page and "None of the 1,797 images" in page


@pytest.mark.parametrize(
    "overrides, option", [(["show=3"], "show"), (["vtab", "show=3"], "show"), (["digits", "show=999"], "show")]
)
def test_a_page_is_of_one_data_set_and_few_images(overrides, option):
    with pytest.raises(UserError) as error:
        resolve.resolve_recipe("data", overrides)
    assert (error.value.status, error.value.option) == (ExitCode.COMMAND, option)


@pytest.mark.parametrize("override", ["res=32", "augment=light1", "augment.layers=2", "save=page.html"])
def test_an_option_of_the_page_without_a_page_is_refused(override):
    with pytest.raises(UserError, match="add show=16"):
        overrides = ["digits", override, *["augment.randaugment=torchvision"] * override.startswith("augment.")]
        unused.check_unused("data", [(overrides, resolve.resolve_recipe("data", overrides))])
