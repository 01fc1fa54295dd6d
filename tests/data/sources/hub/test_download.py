"""Downloads from a Hub that fails in every way a real one does."""

import os

import pytest

from helpers.hub_client import TEST_FILE, TRAIN_FILES
from helpers.small_hub import COMMIT
from vitrun.errors import ExitCode


def test_an_interrupted_transfer_is_resumed(hub, client, publish, make_parquet):
    name = publish("large", {TEST_FILE: make_parquet([0], padding=12_000_000)})
    hub.set_faults("bytes", "cut")
    assert client.open_split(name)["labels"] == [0]
    assert [line for line in hub.requests if "bytes" in line] == [
        f"GET bytes {TEST_FILE} 0-",
        f"GET bytes {TEST_FILE} 10485760-",
    ]


FAULTS = [("file", "503"), ("bytes", "503"), ("bytes", "reset"), ("tree", "429 after 1")]


@pytest.mark.parametrize("kind, fault", [*FAULTS, ("file", "429 after 1")], ids=str)
def test_a_temporary_error_of_the_hub_is_retried(hub, client, publish, kind, fault):
    name = publish(f"{kind}{fault.split()[0]}")
    hub.set_faults(kind, fault)
    assert client.open_split(name)["labels"] == [0, 1, 2]
    again = [line for line in hub.requests if line.split()[1] == kind or kind == "file" and line.startswith("HEAD")]
    assert len(again) == 2
    assert kind == "file" or "rying" in client.read_stderr() or "etry" in client.read_stderr(), "waiting is reported"


def test_a_wait_is_reported_with_the_address_and_the_seconds_and_one_without_end_is_an_error(hub, client, publish):
    name = publish("wait")
    hub.set_faults("tree", "429 after 1")
    client.open_split(name)
    assert f"{hub.endpoint}/datasets/vit/{name}: Rate limited. Waiting 2.0s" in client.read_stderr()
    endless = publish("endless")
    hub.set_faults("tree", f"429 after {'9' * 400}")
    assert "cannot get the split" in client.expect_data_error(endless)


def test_a_request_to_the_hub_is_tried_four_times(hub, client, publish):
    name = publish("down")
    hub.set_faults("tree", *["503"] * 9)
    assert "503" in (why := client.expect_data_error(name)) and why.endswith("data.path=FOLDER")
    assert hub.requests == ["GET tree plain"] * 4


def test_a_page_in_place_of_a_list_of_files_is_named(hub, client, publish):
    name = publish("page")
    hub.set_faults("tree", "page")
    assert "does not answer with a list of files, but with '<!DOCTYPE" in client.expect_data_error(name)
    assert client.open_split(name)["labels"] == [0, 1, 2]


def test_a_corrupt_file_of_the_right_size_is_downloaded_again(hub, client, publish):
    name = publish("wrong")
    hub.set_faults("bytes", "wrong")
    assert client.open_split(name)["labels"] == [0, 1, 2]
    assert f"{TEST_FILE} of vit/wrong does not match the Hub's checksum: deleted." in client.read_stderr()


def test_a_file_that_is_corrupt_twice_is_an_error_and_not_cached(hub, client, publish):
    name = publish("twice")
    hub.set_faults("bytes", "wrong", "wrong")
    assert f"{TEST_FILE} of vit/twice was downloaded twice" in client.expect_data_error(name)
    assert not [file for file in client.cache_folder(name).rglob("*") if file.is_file() or file.is_symlink()]
    assert client.open_split(name)["labels"] == [0, 1, 2]


def test_files_outside_lfs_are_verified_too(hub, client, publish, monkeypatch):
    name = publish("small")
    monkeypatch.setattr("helpers.small_hub.LFS_THRESHOLD", 10**9)
    hub.set_faults("bytes", "wrong")
    assert client.open_split(name)["labels"] == [0, 1, 2] and "checksum" in client.read_stderr()


def test_a_truncated_cached_file_is_downloaded_again(hub, client, publish):
    name = publish("short")
    client.open_split(name)
    blob = (client.cache_folder(name) / "snapshots" / COMMIT / TEST_FILE).resolve()
    os.truncate(blob, 100)
    assert client.open_split(name)["labels"] == [0, 1, 2]
    assert blob.stat().st_size == len(hub.files["vit/short"][TEST_FILE])


def test_an_interrupted_download_leaves_only_complete_files_and_resumes_after_them(hub, client, publish):
    name = publish("stopped")
    assert client.open_split(name, "train", ticks=5) == {"interrupted": ExitCode.INTERRUPTED}, "in the second file"
    assert len(list((client.cache_folder(name) / "blobs").iterdir())) == 1
    hub.requests.clear()
    assert client.open_split(name, "train")["labels"] == [0, 0, 1, 2, 1]
    assert [line for line in hub.requests if "bytes" in line] == [f"GET bytes {TRAIN_FILES[1]} 0-"]


def test_a_download_larger_than_the_free_disk_space_does_not_start(hub, client, publish):
    class Huge(bytes):
        def __len__(self) -> int:
            return 10**18

    result = client.open_split(publish("huge", {TEST_FILE: Huge(hub.files[f"vit/{publish('plain')}"][TEST_FILE])}))
    assert result["status"] == ExitCode.SPACE and "vit/huge needs 1000000000.0 GB" in result["error"]
    assert hub.requests == ["GET tree plain"]


def test_a_read_only_cache_is_verified_at_each_start(hub, client, publish):
    name = publish("readonly")
    result = client.open_split(name)
    (client.cache_folder(name) / "vitrun").rename(client.cache_folder(name) / "receipts")
    (client.cache_folder(name) / "vitrun").touch()
    assert client.open_split(name) == result and "will verify all files again" in client.read_stderr()
    assert len(hub.requests) == 4, "the bytes came once"


def test_a_file_named_after_its_split_is_a_complete_split_and_a_numbered_part_is_not(
    client, offline_client, publish, make_parquet
):
    cat = make_parquet([1, 0])
    files = ["data/test.parquet", "data/train-00000-of-00002.parquet", "data/more/0000.parquet"]
    name = publish("alone", dict.fromkeys(files, cat))
    result = client.open_split(name, "test", "data.config=null")
    client.open_split(name, "train", "data.config=null")
    client.open_split(name, "test", "data.config=data/more", "data.test=more")
    for file in (client.cache_folder(name) / "vitrun").iterdir():
        file.unlink()
    assert offline_client.open_split(name, "test", "data.config=null") == result
    for overrides in (["data.config=null", "data.test=train"], ["data.config=data/more", "data.test=more"]):
        assert "the cache does not hold all of it" in offline_client.expect_data_error(name, *overrides)
