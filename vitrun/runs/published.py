"""Published numbers of the same thing as a metric of our runs, and in what the two differ nonetheless."""

import re
from dataclasses import dataclass
from functools import cache

from vitrun import papers
from vitrun.papers import PaperNumber, PaperTable
from vitrun.runs.groups import Average

Facts = dict[str, str | None]
DEFAULT_FIELDS = {"positions": "learned", "positions_at": "stem"}  # of a published number that does not name them


@dataclass(frozen=True)
class PublishedMatch:
    """Published number of the same thing as a metric of our runs."""

    table: str  # its name, as paper= takes it
    number: PaperNumber
    differences: tuple[str, ...]  # in which the two differ nonetheless, as in "res 224, not 384"


def match_published(facts: Facts, metric: str, paper: PaperTable) -> list[PublishedMatch]:
    """Return the published numbers that agree with a run in all fields of ``paper.match``."""
    matches = []
    for number in paper.numbers:
        fields = number.fields
        agrees = all(facts.get(key) == fields[key] for key in paper.match if key in fields and key != "metric")
        if agrees and number.percent and number.metric == metric:
            named = DEFAULT_FIELDS | fields | res_of_whole_patches(fields)
            if facts.get("view_of") and "view" not in fields:  # that of the weights is the published one
                named["view_of"] = "weights"
            expected = {key: value for key, value in named.items() if facts.get(key) or key in fields}
            matches.append(PublishedMatch(paper.name, number, tuple(list_differences(facts, expected))))
    return matches


def find_counterparts(facts: Facts, metric: str) -> list[PublishedMatch]:
    """Return the numbers of all published tables that differ from a run in nothing that they name."""
    return [
        match
        for table in load_tables_of(str(facts["data"]))
        if facts["command"] in table.commands
        for match in match_published(facts, metric, table)
        if not match.differences
    ]


@cache
def load_tables_of(data: str) -> list[PaperTable]:
    """Return the published tables that have numbers of a data set."""
    tables = (papers.load_table(name) for name in papers.find_table_files())
    return [table for table in tables if any(number.fields.get("data") == data for number in table.numbers)]


def res_of_whole_patches(fields: dict[str, str]) -> dict[str, str]:
    """Return the resolution that whole patches fill: of H/14's 384 pixels 378 (the public code drops the rest)."""
    patch = re.search(r"/(\d+)$", fields.get("model", ""))
    return {"res": str(int(fields["res"]) // int(patch[1]) * int(patch[1]))} if patch and "res" in fields else {}


def list_differences(facts: Facts, expected: dict[str, str]) -> list[str]:
    """Return in which facts a run is not as expected."""
    return [
        f"{key} {facts[key] or 'unknown'}, not {value}"
        for key, value in expected.items()
        if key in facts and facts[key] != value
    ]


def compute_gap(average: Average, number: PaperNumber) -> float:
    """Return the points by which our accuracy is above a published one."""
    return 100 * average.mean - number.value
