"""``--config-dir``: help, completion, errors and the jobs of ``-m`` use the files of the folder."""

import re

import pytest

from helpers.processes import read_error_line

PROTOCOL = (
    "# @package _global_\n# Two steps\ncommands: [pretrain]\nfor_data: ['*']\nprotocol: two\nsteps: 2\nwarmup: 0\n"
)


@pytest.fixture
def configs(tmp_path):
    """Write a protocol to a folder other than ./conf; return the flag that names the folder."""
    (tmp_path / "configs/protocol").mkdir(parents=True)
    (tmp_path / "configs/protocol/two.yaml").write_text(PROTOCOL)
    return ["--config-dir", "configs"]


def test_the_help_cfg_and_completion_show_files_of_the_folder(vitrun, configs):
    assert re.search(r"^  two +Two steps$", vitrun("pretrain", *configs, "--help").stdout, re.MULTILINE)
    shown = vitrun("pretrain", "protocol=two", *configs, "--cfg").stdout
    assert re.search(r"^steps=2 +# \./configs/protocol/two\.yaml$", shown, re.MULTILINE)
    assert "two" not in vitrun("pretrain", "--help").stdout


def test_the_jobs_of_a_multirun_search_the_folder_too(vitrun, configs):
    small = ["model=vit_nano8", "data.train_images=16", "data.test_images=16", "batch=8", "--dry-run"]
    done = vitrun("pretrain", "-m", "protocol=two", "seed=0,1", *small, *configs)
    assert done.returncode == 0, done.stderr
    assert (done.stdout + done.stderr).count("./configs/protocol/two.yaml") == 2


@pytest.mark.parametrize("arguments", [["--help"], ["--cfg"], []])
def test_a_missing_folder_is_refused_in_one_sentence(vitrun, arguments):
    assert "nowhere" in read_error_line(vitrun("pretrain", "--config-dir", "nowhere", *arguments), 2)
