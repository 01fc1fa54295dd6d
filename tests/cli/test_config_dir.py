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
    assert re.search(r"^  two +Two steps$", vitrun("pretrain", "--help", *configs).stdout, re.MULTILINE)
    shown = vitrun("pretrain", "protocol=two", *configs, "--cfg").stdout
    assert re.search(r"^steps=2 +# \./configs/protocol/two\.yaml$", shown, re.MULTILINE)
    assert "Two steps" not in vitrun("pretrain", "--help").stdout


def test_the_jobs_of_a_multirun_search_the_folder_too(vitrun, configs):
    small = ["model=vit_nano8", "data.train_images=16", "data.test_images=16", "batch=8", "--dry-run"]
    done = vitrun("pretrain", "-m", "protocol=two", "seed=0,1", *small, *configs)
    assert done.returncode == 0, done.stderr
    assert (done.stdout + done.stderr).count("./configs/protocol/two.yaml") == 2


@pytest.mark.parametrize("arguments", [["--help"], ["--cfg"], []])
def test_a_missing_folder_is_refused_in_one_sentence(vitrun, arguments):
    assert "nowhere" in read_error_line(vitrun("pretrain", "--config-dir", "nowhere", *arguments), 2)


def test_the_folder_of_another_application_is_left_out_with_one_line(vitrun, tmp_path):
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/config.yaml").write_text("defaults:\n  - db: mysql\n")
    for arguments in (["pretrain", "--cfg"], ["models", "only=[nano8]"]):
        done = vitrun(*arguments)
        assert done.returncode == 0 and done.stderr.startswith("./conf is not searched")
        assert len(done.stderr.splitlines()) == 1 and "--config-dir conf" in done.stderr
        assert not vitrun(*arguments, "--quiet").stderr and not vitrun(*arguments, VITRUN_CONF="").stderr
        assert not vitrun(*arguments, "--config-dir", "conf").stderr
