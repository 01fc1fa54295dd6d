"""The help of a command: every option with its description and value, by section, in at most 100 columns."""

import re

import pytest

from vitrun.cli import help
from vitrun.cli.app import COMMAND_HELP
from vitrun.recipes import options

WIDTH = 100  # columns


@pytest.mark.parametrize("command", COMMAND_HELP)
def test_the_help_fits_100_columns_and_describes_every_option_that_can_be_set(command):
    lines = help.describe_options(command).splitlines()
    assert max(map(len, lines)) <= WIDTH
    shown = {line.split("=")[0].strip() for line in lines if re.match(r"  [a-z]", line)}
    comes_with = {"kind", "source", "task", "name"}  # a choice sets them
    expected = {key for key in options.list_options(command) if key.split(".")[-1] not in comes_with or "." not in key}
    assert {key for key in expected if not key.startswith(("against.", "unlabelled."))} <= shown


def test_common_options_come_first_with_their_values_and_meaning():
    lines = help.describe_options("pretrain").splitlines()
    assert lines[0] == "Common options:" and lines[1].split()[0] == "model=vit_nano8"
    assert re.search(r"^  batch=128 +images in a step", "\n".join(lines[:20]), re.MULTILINE)
    sections = [line.rstrip(":") for line in lines if re.fullmatch(r"[A-Z][a-z -]+:", line)]
    assert sections[:4] == ["Common options", "Data", "Model", "Objective"] and len(set(sections)) == len(sections)


def test_the_help_shows_the_options_of_the_choices_that_are_typed():
    text = help.describe_options("pretrain", ["data=folder", "optim=sgd", "batch=7"])
    for line in ("data=folder", "data.path=null", "optim=sgd", "optim.momentum=0.9", "batch=7"):
        assert re.search(rf"^  {re.escape(line)} ", text, re.MULTILINE), line
    assert not re.search(r"^  data.target=shape", text, re.MULTILINE)


def test_options_of_other_choices_are_named_with_these():
    text = help.describe_options("finetune")
    parts = re.split(r"^With ", text, flags=re.MULTILINE)
    (files,) = [part for part in parts if "cifar10, " in part.partition(":")[0]]
    assert "folder with the images" in files and "the column of labels" in files
    (adam,) = [part for part in parts if part.startswith("optim=adam, adamw:")]
    assert "optim.betas=" in adam
    assert all(re.match(r"[a-z]+=[a-z]", part) for part in parts[1:]), "each has choices"
    text = help.describe_options("pretrain")
    (clip,) = [part for part in re.split(r"^With ", text, flags=re.MULTILINE) if part.startswith("model=clip_b16, ")]
    keys = re.findall(r"^  (model\.[a-z_.]+)=", clip, re.MULTILINE)
    assert {"model.image.patch", "model.image.blocks", "model.text.width", "model.features"} < set(keys)
    assert len(keys) == len(set(keys)), "each once"


def test_large_groups_are_listed_by_name_and_others_with_what_they_are():
    text = help.describe_options("pretrain")
    assert "Choices of data= (`vitrun data` describes them):" in text and "CIFAR-10 (Krizhevsky" not in text
    assert re.search(r"^  adamw +Adam with decoupled weight decay", text, re.MULTILINE)
