"""The files, tests and reference vectors that docs/protocols.md names exist."""

import re

import pytest

from helpers.paths import ROOT

PAGE = (ROOT / "docs" / "protocols.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`((?:vitrun|conf|scripts|tests)/[\w./-]+)(?:: (\w+))?`", PAGE)))
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith(("| choice", "| ---"))]
TESTS = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))


def test_every_file_and_definition_that_the_page_names_exists():
    absent = [file for file, _ in NAMED if not (ROOT / file).is_file()]
    assert not absent
    missing = [(file, name) for file, name in NAMED if not re.search(rf"\b{name}\b", (ROOT / file).read_text())]
    assert not missing


def test_every_test_that_the_page_names_exists():
    named = [name for file, name in NAMED if file.startswith("tests/") and name]
    assert len(named) > 50 and not [name for name in named if f"def {name}(" not in TESTS]


@pytest.mark.parametrize("golden", sorted(set(re.findall(r"golden `(\w+)`", PAGE))))
def test_reference_vectors_that_the_page_names_are_read_by_a_test(golden):
    assert golden in TESTS


def test_every_row_says_what_is_done_where_and_how_it_was_checked():
    assert len(ROWS) > 60
    for row in ROWS:
        cells = [cell.strip() for cell in row.strip("| ").split(" | ")]
        assert len(cells) == 5 and all(cells), row


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_a_page_lead_to_files(page):
    links = re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text(encoding="utf-8"))
    assert not [link for link in links if not (page.parent / link).exists()]
