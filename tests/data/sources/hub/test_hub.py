"""Data sets from the Hub: a real client and a small Hub on this machine."""

import json
import re

import pytest

from helpers.hub_client import TEST_FILE, TRAIN_FILES, client_environment
from helpers.processes import CommandProcess
from helpers.small_hub import COMMIT, TOKEN


def test_only_the_files_of_the_split_are_downloaded_and_only_once(hub, client, publish):
    name = publish("fresh")
    result = client.open_split(name)
    assert result == {"labels": [0, 1, 2], "classes": ["cat", "dog", "owl"]}
    assert hub.requests == ["GET tree plain", f"HEAD {TEST_FILE}", f"GET bytes {TEST_FILE} 0-"]
    hub.requests.clear()
    assert client.open_split(name) == result and hub.requests == []
    assert client.open_split(name, "train")["labels"] == [0, 0, 1, 2, 1]
    assert [line for line in hub.requests if "bytes" in line] == [f"GET bytes {file} 0-" for file in TRAIN_FILES]
    assert client.read_stderr() == ""


SIMPLE = ["data/test-00000-of-00001-0123456789abcdef.parquet", "test-00000-of-00001.parquet"]


@pytest.mark.parametrize("path", [*SIMPLE, "data/test.parquet", "test.parquet"])
def test_a_data_set_without_configurations_has_its_files_in_data_or_at_the_top(client, publish, make_parquet, path):
    name = publish(f"simple{len(path)}", {path: make_parquet([1, 0])})
    assert client.open_split(name, "test", "data.config=null")["labels"] == [1, 0]


def test_the_split_in_data_is_preferred_to_that_at_the_top(hub, client, offline_client, publish, make_parquet):
    name = publish(
        "both", {"data/test.parquet": make_parquet([1, 0]), "test-00000-of-00001.parquet": make_parquet([2])}
    )
    assert client.open_split(name, "test", "data.config=null")["labels"] == [1, 0]
    assert [line for line in hub.requests if "bytes" in line] == ["GET bytes data/test.parquet 0-"]


def test_a_long_list_of_files_is_read_page_by_page(hub, client, publish, monkeypatch):
    monkeypatch.setattr("helpers.small_hub.PAGE_SIZE", 1)
    assert client.open_split(publish("paged"), "train")["labels"] == [0, 0, 1, 2, 1]
    assert hub.requests.count("GET tree plain") == 3


def test_a_gated_data_set_opens_for_an_account_that_accepted_the_terms(hub, client, publish):
    name = publish("gated")
    hub.gated.add("vit/gated")
    token = client.home / "token"  # what `hf auth login` writes
    for text in (None, "hf_other_account"):
        if text:
            token.write_text(text)
        assert f"accept its terms on {hub.endpoint}/datasets/vit/gated" in (why := client.expect_data_error(name))
        assert "`hf auth login`" in why
    token.write_text(TOKEN)
    assert client.open_split(name)["labels"] == [0, 1, 2]
    token.unlink()


def test_an_invalid_token_is_reported(hub, client, publish):
    name = publish("token")
    hub.set_faults("tree", "401")
    assert "the Hub rejects your token; log in again with `hf auth login`" in client.expect_data_error(name)


WRONG = [
    ([], "nothing", "vit/nothing from the Hub: it is not on http://.*/datasets, or it is private"),
    (["data.revision=" + "0" * 40], "plain", f"has no revision {'0' * 40}; its revisions are listed on "),
    (["data.revision=main"], "plain", f"data.revision=main is not a commit.* data.revision={COMMIT}"),
    (["data.revision=null"], "plain", f"data.revision=null is not a commit.* data.revision={COMMIT}"),
    (["data.config=plane"], "plain", "no config 'plane'. Did you mean plain[?] Set data.config=NAME"),
    (["data.config=null"], "plain", "no config 'default'. Choose one of plain. Set"),
    (["data.test=tets"], "plain", "no split 'tets'. Did you mean test[?] Set data.test=NAME"),
    (["data.config=null"], "readme", "vit/readme has no parquet files.* but data/cats.bin, README.md. Download"),
    (["data.config=null"], "single", "no split 'test'. Choose one of validation. Set data.test=NAME"),
    ([], "single", "vit/single has no parquet files in plain, but plain/test. Download"),
    (["data.hub=vit/plain/x"], "plain", "Repo id must be"),
    (["data.label=class"], "plain", "no column 'class'"),
]


@pytest.mark.parametrize(
    "overrides, name, message", WRONG, ids=[" ".join(overrides) or name for overrides, name, _ in WRONG]
)
def test_the_error_for_a_missing_name_lists_the_available_ones(client, publish, overrides, name, message):
    publish("plain")
    publish("readme", {"README.md": b"# cats", "data/cats.bin": b"cats"})
    publish("single", {"data/validation.parquet": b"cats", "plain/test/0000.parquet": b"cats"})
    assert re.search(message, client.expect_data_error(name, *overrides))


def test_images_without_labels_are_refused(client, publish, make_parquet):
    name = publish("unlabelled", {TEST_FILE: make_parquet([-1, -1])})
    assert "2 of 2 images without a label (-1): choose another split" in client.expect_data_error(name)


def test_a_full_cache_needs_no_network(client, offline_client, hub, publish):
    result = client.open_split(publish("kept"))
    hub.requests.clear()
    assert offline_client.open_split("kept") == result and hub.requests == []


def test_a_cache_filled_by_another_tool_is_verified_without_network(client, offline_client, publish):
    result = client.open_split(publish("filled"), "train")
    receipts = client.cache_folder("filled") / "vitrun"
    for file in receipts.iterdir():
        file.unlink()
    assert offline_client.open_split("filled", "train") == result and len(list(receipts.iterdir())) == 1
    blob = (client.cache_folder("filled") / "snapshots" / COMMIT / TRAIN_FILES[0]).resolve()
    blob.write_bytes(bytes(blob.stat().st_size + 1))
    assert "HF_HUB_OFFLINE is set" in offline_client.expect_data_error("filled", part="train")
    assert "does not match the Hub's checksum" in offline_client.read_stderr()


def test_the_error_without_network_and_cache_suggests_a_local_copy(client, offline_client, publish):
    client.open_split(publish("half"))
    why = offline_client.expect_data_error("half", part="train")
    assert "HF_HUB_OFFLINE is set, and the cache does not hold all of it" in why and "data.path=FOLDER" in why


def test_a_command_downloads_what_it_needs_and_prints_only_its_result(hub, client, publish, tmp_path):
    name = publish("command")
    overrides = ["init=random:vit_nano8", "res=32", "shots=1", "seeds=0", "data=folder", f"data.hub=vit/{name}"]
    overrides += [f"data.revision={COMMIT}", "data.config=plain", "device=cpu", "batch=8"]
    settings = client_environment(client.home, hub.endpoint)
    done = CommandProcess("fewshot", "--json", *overrides, folder=tmp_path, environment=settings)
    done.wait()
    assert done.stderr == "" and json.loads(done.stdout)["images_used"] == 3
    log = next((tmp_path / "runs").glob("fewshot-*/log.txt")).read_text()
    assert "test of vit/command, 1 file, " in log and "train of vit/command, 2 files, " in log
