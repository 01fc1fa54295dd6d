"""Each command that the README and the docs print is one that vitrun takes."""

import re
import shlex
from collections.abc import Iterator

import pytest

from helpers.paths import ROOT
from helpers.runs import write_finished_run
from vitrun.cli.launch import take_launcher
from vitrun.commands import runner
from vitrun.config.bare_arguments import split_arguments
from vitrun.config.overrides import expand_sweep
from vitrun.errors import UserError
from vitrun.recipes import RECIPES

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ELSEWHERE = {"extending.md"}  # whose own test runs its commands, with the files that the page makes
OPEN = {"...", "NAME", "CLIP", "CIFAR", "$OPTIONS", "exclude=RUN", "dedup=RUN"}  # words that stand for others
PLACES = re.compile(r"^((?:data|unlabelled)\.(?:path|root|images))=.*")  # of images, for which there are others here
HUB = "hf:"  # its names are looked up there


def list_commands(text: str) -> Iterator[str]:
    """Yield what follows ``vitrun`` in the blocks of shell commands and in the sentences of a page."""
    text = re.sub(r"\\\n\s+", " ", text)
    for block in re.findall(r"^```(?:sh|bash)?\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for line in block.splitlines():
            if found := re.match(r"(?:\$ |torchrun .* -m |srun |.* \| )*vitrun (\w.*)", line.strip()):
                yield found[1]
    sentences = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    yield from re.findall(r"`vitrun\s+(\w[^`]*)`", sentences)


def split_words(line: str) -> list[str]:
    """Return the words of a command, without a comment, flags and what it is piped into."""
    words = shlex.split(line.replace("\n", " "), comments=True)
    end = words.index("|") if "|" in words else len(words)
    return [word for word in words[:end] if word == "-" or not word.startswith("-")]


def is_open(words: list[str]) -> bool:
    """Return whether a command cannot be composed as it is printed: it leaves something open."""
    return any(word in OPEN or word.rpartition("=")[2] in OPEN or HUB in word for word in words[1:])


def check_command(command: str, words: list[str], is_sweep: bool) -> None:
    """Raise a UserError if a command, of a sweep its first one, does not compose."""
    overrides, bare = split_arguments(command, take_launcher(words)[0])
    job = expand_sweep(command, overrides)[0] if is_sweep else overrides
    runner.resolve_recipe(command, [word for word in job if not word.startswith("jobs=")], False, True, bare)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """Make a folder with a finished run that the commands call RUN, and with the images that they name."""
    folder = tmp_path_factory.mktemp("docs")
    name = write_finished_run(folder / "runs", ("pretrain", "model=vit_nano8", "data=digits"), {"top1": 0.5}, {})
    (folder / "runs" / name).rename(folder / "runs" / "RUN")
    (folder / "runs" / "RUN" / "checkpoints").mkdir()
    for path in ("photos/cat", "photos/dog"):
        (folder / path).mkdir(parents=True)
        (folder / path / "1.jpg").write_bytes(b"")
    for file in ("photo.jpg", "cat.jpg", "model.npz"):
        (folder / file).write_bytes(b"")
    return folder


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in ELSEWHERE], ids=lambda page: page.name)
def test_every_command_of_a_page_composes(page, workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    wrong = {}
    for line in dict.fromkeys(list_commands(page.read_text(encoding="utf-8"))):
        command, *words = split_words(line)
        if command not in RECIPES or is_open([command, *words]):
            continue
        try:
            check_command(command, [PLACES.sub(r"\1=photos", word) for word in words], is_sweep=" -m" in line)
        except UserError as error:
            wrong[line] = str(error)
    assert not wrong
