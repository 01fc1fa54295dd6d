"""doctor: one screen says what a report of a bug needs, and no secret."""

import torch

import vitrun
from vitrun.runtime import machine


def test_doctor_names_versions_devices_memory_and_disks(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_abc")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    sections = vitrun.doctor(runs=tmp_path / "runs")
    assert torch.__version__.partition("+")[0] in sections["software"]["packages"]
    assert "cores" in sections["compute"]["processor"] and "GPU" in " ".join(sections["compute"])
    assert "JPEG" in sections["images"]["formats"] and "GB" in sections["memory"]["main"]
    assert "not there yet" in sections["disks"]["runs"] and str(tmp_path) in sections["disks"]["runs"]
    assert sections["environment"]["HF_TOKEN"] == "(set)" and sections["environment"]["OMP_NUM_THREADS"] == "1"


def test_packages_that_are_not_installed_are_named():
    assert machine.find_version("no-such-package") == "not installed"
