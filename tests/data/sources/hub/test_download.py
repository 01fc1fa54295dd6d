"""Downloads from a Hub that fails in every way a real one does."""

import os

import pytest

from helpers.hub_client import TEST, TRAIN
from helpers.small_hub import COMMIT
from vitrun.errors import ExitCode


def test_a_cut_transfer_goes_on_where_it_was(hub, client, put, parquet):
    name = put("large", {TEST: parquet([0], padding=12_000_000)})
    hub.order("bytes", "cut")
    assert client.open(name)["labels"] == [0]
    assert [line for line in hub.asked if "bytes" in line] == [f"GET bytes {TEST} 0-", f"GET bytes {TEST} 10485760-"]


FAULTS = [("file", "503"), ("bytes", "503"), ("bytes", "reset"), ("tree", "429 after 1")]


@pytest.mark.parametrize("kind, fault", [*FAULTS, ("file", "429 after 1")], ids=str)
def test_a_passing_fault_is_waited_for(hub, client, put, kind, fault):
    name = put(f"{kind}{fault.split()[0]}")
    hub.order(kind, fault)
    assert client.open(name)["labels"] == [0, 1, 2]
    again = [line for line in hub.asked if line.split()[1] == kind or kind == "file" and line.startswith("HEAD")]
    assert len(again) == 2
    assert kind == "file" or "rying" in client.said() or "etry" in client.said(), "a wait is said"


def test_the_hub_is_asked_four_times_and_no_more(hub, client, put):
    name = put("down")
    hub.order("tree", *["503"] * 9)
    assert "503" in (why := client.refused(name)) and why.endswith("data.path=FOLDER")
    assert hub.asked == ["GET tree plain"] * 4


def test_wrong_bytes_of_the_right_number_are_fetched_again(hub, client, put):
    name = put("wrong")
    hub.order("bytes", "wrong")
    assert client.open(name)["labels"] == [0, 1, 2]
    assert f"{TEST} of vit/wrong does not match the Hub's checksum: deleted." in client.said()


def test_wrong_bytes_twice_are_an_error_and_stay_nowhere(hub, client, put):
    name = put("twice")
    hub.order("bytes", "wrong", "wrong")
    assert f"{TEST} of vit/twice was downloaded twice" in client.refused(name)
    assert not [file for file in client.cache(name).rglob("*") if file.is_file() or file.is_symlink()]
    assert client.open(name)["labels"] == [0, 1, 2]


def test_files_that_are_not_in_lfs_are_compared_too(hub, client, put, monkeypatch):
    name = put("small")
    monkeypatch.setattr("helpers.small_hub.LFS", 10**9)
    hub.order("bytes", "wrong")
    assert client.open(name)["labels"] == [0, 1, 2] and "checksum" in client.said()


def test_a_cached_file_that_lost_its_end_is_fetched_again(hub, client, put):
    name = put("short")
    client.open(name)
    blob = (client.cache(name) / "snapshots" / COMMIT / TEST).resolve()
    os.truncate(blob, 100)
    assert client.open(name)["labels"] == [0, 1, 2]
    assert blob.stat().st_size == len(hub.files["vit/short"][TEST])


def test_a_stopped_download_leaves_whole_files_only_and_goes_on_after_them(hub, client, put):
    name = put("stopped")
    assert client.open(name, "train", ticks=5) == {"stopped": ExitCode.INTERRUPTED}, "in the second file"
    assert len(list((client.cache(name) / "blobs").iterdir())) == 1
    hub.asked.clear()
    assert client.open(name, "train")["labels"] == [0, 0, 1, 2, 1]
    assert [line for line in hub.asked if "bytes" in line] == [f"GET bytes {TRAIN[1]} 0-"]


def test_a_download_that_the_disk_cannot_hold_does_not_start(hub, client, put):
    class Huge(bytes):
        def __len__(self) -> int:
            return 10**18

    answer = client.open(put("huge", {TEST: Huge(hub.files[f"vit/{put('plain')}"][TEST])}))
    assert answer["status"] == ExitCode.SPACE and "vit/huge needs 1000000000.0 GB" in answer["mistake"]
    assert hub.asked == ["GET tree plain"]


def test_a_cache_that_takes_no_receipt_is_compared_at_each_start(hub, client, put):
    name = put("readonly")
    answer = client.open(name)
    (client.cache(name) / "vitrun").rename(client.cache(name) / "receipts")
    (client.cache(name) / "vitrun").touch()
    assert client.open(name) == answer and "will verify all files again" in client.said()
    assert len(hub.asked) == 4, "the bytes came once"


def test_a_file_named_after_its_split_is_whole_by_itself_and_one_of_several_is_not(client, offline, put, parquet):
    cat = parquet([1, 0])
    files = ["data/test.parquet", "data/train-00000-of-00002.parquet", "data/more/0000.parquet"]
    name = put("alone", dict.fromkeys(files, cat))
    answer = client.open(name, "test", "data.config=null")
    client.open(name, "train", "data.config=null")
    client.open(name, "test", "data.config=data/more", "data.test=more")
    for file in (client.cache(name) / "vitrun").iterdir():
        file.unlink()
    assert offline.open(name, "test", "data.config=null") == answer
    for overrides in (["data.config=null", "data.test=train"], ["data.config=data/more", "data.test=more"]):
        assert "the cache does not hold all of it" in offline.refused(name, *overrides)
