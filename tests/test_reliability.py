"""docs/reliability.md has a row for each fault, and every test that it names exists."""

import re

import pytest

from helpers.paths import ROOT

PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
ROWS = {int(row[1]): row for row in re.finditer(r"^\| (\d+) \|([^|]+)\|([^|]+)\|([^|]+)\|$", PAGE, re.MULTILINE)}


def test_the_page_has_all_33_faults_in_order():
    assert list(ROWS) == list(range(1, 34))


@pytest.mark.parametrize("number", ROWS)
def test_a_fault_has_tests_that_exist(number):
    named = re.findall(r"`(tests/[\w/]+\.py): (test_\w+)`", ROWS[number][4])
    assert named and not re.sub(r"`(tests/[\w/]+\.py): (test_\w+)`|, ", "", ROWS[number][4]).strip()
    for file, name in named:
        assert f"\ndef {name}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file} has no {name}"


def test_every_script_that_the_page_names_exists():
    assert all((ROOT / script).is_file() for script in re.findall(r"`python (scripts/\w+\.py)", PAGE))
