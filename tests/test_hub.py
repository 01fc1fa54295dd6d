"""Data sets from the Hub: a real client and a small Hub on this machine that fails in every way a real one does."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from hub_client import Client, environment
from PIL import Image
from small_hub import COMMIT, TOKEN, serve

from vitrun.mistakes import Exit

TEST = "plain/test-00000-of-00001.parquet"
TRAIN = [f"plain/train-{n:05d}-of-00002.parquet" for n in range(2)]


@pytest.fixture(scope="module")
def hub():
    with serve() as hub:
        yield hub


@pytest.fixture(scope="module")
def client(hub, tmp_path_factory):
    client = Client(tmp_path_factory.mktemp("online"), hub.endpoint)
    yield client
    client.end()


@pytest.fixture(scope="module", autouse=True)  # from the first test on, so that it starts while others wait
def offline(client, hub):
    """A client with the same cache and no network."""
    offline = Client(client.home, hub.endpoint, HF_HUB_OFFLINE="1")
    yield offline
    offline.end()


@pytest.fixture(scope="module")
def parquet(tmp_path_factory):
    """Makes a parquet file of small images with these labels, and ``padding`` bytes beside them."""
    import datasets

    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog", "owl"])}
    place = tmp_path_factory.mktemp("parquet") / "file"

    def parquet(labels: list[int], padding: int = 0) -> bytes:
        generator = np.random.default_rng(len(labels))
        images = [Image.fromarray(generator.integers(0, 255, (8, 8, 3), dtype=np.uint8)) for _ in labels]
        rows = {"image": images, "label": labels, "extra": [generator.bytes(padding)] * len(labels)}
        table = datasets.Dataset.from_dict(rows, datasets.Features(features | {"extra": datasets.Value("binary")}))
        table.to_parquet(place)
        return place.read_bytes()

    return parquet


@pytest.fixture(scope="module")
def put(hub, parquet):
    """Puts a data set of two splits onto the Hub."""
    small = {TEST: parquet([0, 1, 2]), TRAIN[0]: parquet([0, 0]), TRAIN[1]: parquet([1, 2, 1]), "README.md": b"# cats"}

    def put(name: str, files: dict[str, bytes] = small) -> str:
        hub.files[f"vit/{name}"] = files
        hub.order("bytes")
        return name

    return put


def test_only_the_files_of_the_split_are_asked_for_and_only_once(hub, client, put):
    name = put("plain")
    answer = client.open(name)
    assert answer == {"labels": [0, 1, 2], "classes": ["cat", "dog", "owl"]}
    assert hub.asked == ["GET tree plain", f"HEAD {TEST}", f"GET bytes {TEST} 0-"]
    hub.asked.clear()
    assert client.open(name) == answer and hub.asked == []
    assert client.open(name, "train")["labels"] == [0, 0, 1, 2, 1]
    assert [line for line in hub.asked if "bytes" in line] == [f"GET bytes {file} 0-" for file in TRAIN]
    assert client.said() == ""


SIMPLE = ["data/test-00000-of-00001-0123456789abcdef.parquet", "test-00000-of-00001.parquet"]


@pytest.mark.parametrize("path", [*SIMPLE, "data/test.parquet", "test.parquet"])
def test_a_data_set_without_configurations_keeps_its_files_in_data_or_at_the_top(client, put, parquet, path):
    name = put(f"simple{len(path)}", {path: parquet([1, 0])})
    assert client.open(name, "test", "data.config=null")["labels"] == [1, 0]


def test_a_split_that_lies_in_data_and_at_the_top_is_that_in_data(hub, client, offline, put, parquet):
    name = put("both", {"data/test.parquet": parquet([1, 0]), "test-00000-of-00001.parquet": parquet([2])})
    assert client.open(name, "test", "data.config=null")["labels"] == [1, 0]
    assert [line for line in hub.asked if "bytes" in line] == ["GET bytes data/test.parquet 0-"]


def test_a_long_list_of_files_is_read_page_by_page(hub, client, put, monkeypatch):
    monkeypatch.setattr("small_hub.PAGE", 1)
    assert client.open(put("paged"), "train")["labels"] == [0, 0, 1, 2, 1]
    assert hub.asked.count("GET tree plain") == 3


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
    assert f"{TEST} of vit/wrong has other bytes than the Hub lists: removed." in client.said()


def test_wrong_bytes_twice_are_a_mistake_and_stay_nowhere(hub, client, put):
    name = put("twice")
    hub.order("bytes", "wrong", "wrong")
    assert f"{TEST} of vit/twice came twice with other bytes" in client.refused(name)
    assert not [file for file in client.cache(name).rglob("*") if file.is_file() or file.is_symlink()]
    assert client.open(name)["labels"] == [0, 1, 2]


def test_files_that_are_not_in_lfs_are_compared_too(hub, client, put, monkeypatch):
    name = put("small")
    monkeypatch.setattr("small_hub.LFS", 10**9)
    hub.order("bytes", "wrong")
    assert client.open(name)["labels"] == [0, 1, 2] and "other bytes" in client.said()


def test_a_cached_file_that_lost_its_end_is_fetched_again(hub, client, put):
    name = put("short")
    client.open(name)
    blob = (client.cache(name) / "snapshots" / COMMIT / TEST).resolve()
    os.truncate(blob, 100)
    assert client.open(name)["labels"] == [0, 1, 2]
    assert blob.stat().st_size == len(hub.files["vit/short"][TEST])


def test_a_stopped_download_leaves_whole_files_only_and_goes_on_after_them(hub, client, put):
    name = put("stopped")
    assert client.open(name, "train", ticks=5) == {"stopped": Exit.INTERRUPTED}, "in the second file"
    assert len(list((client.cache(name) / "blobs").iterdir())) == 1
    hub.asked.clear()
    assert client.open(name, "train")["labels"] == [0, 0, 1, 2, 1]
    assert [line for line in hub.asked if "bytes" in line] == [f"GET bytes {TRAIN[1]} 0-"]


def test_a_gate_opens_to_an_account_that_accepted_the_terms(hub, client, put):
    name = put("gated")
    hub.gated.add("vit/gated")
    token = client.home / "token"  # what `hf auth login` writes
    for text in (None, "hf_stranger"):
        if text:
            token.write_text(text)
        assert f"accept its terms on {hub.endpoint}/datasets/vit/gated" in (why := client.refused(name))
        assert "`hf auth login`" in why
    token.write_text(TOKEN)
    assert client.open(name)["labels"] == [0, 1, 2]
    token.unlink()


def test_a_token_that_is_not_valid_is_said(hub, client, put):
    name = put("token")
    hub.order("tree", "401")
    assert "the Hub refuses your token, log in anew with `hf auth login`" in client.refused(name)


WRONG = [
    ([], "nothing", "vit/nothing cannot be had.* it is not on http://.*/datasets, or it is private"),
    (["data.revision=" + "0" * 40], "plain", f"has no revision {'0' * 40}, those it has are on "),
    (["data.revision=main"], "plain", f"data.revision=main is no commit.* pin it with data.revision={COMMIT}"),
    (["data.revision=null"], "plain", f"pin it with data.revision={COMMIT}"),
    (["data.config=plane"], "plain", "No config 'plane'. Did you mean plain[?] Choose: data.config=NAME"),
    (["data.config=null"], "plain", "No config 'default'. There are plain. Choose"),
    (["data.test=tets"], "plain", "No split 'tets'. Did you mean test[?] Choose: data.test=NAME"),
    (["data.config=null"], "readme", "vit/readme has no parquet files.* but data/cats.tar, README.md: fetch"),
    (["data.config=null"], "single", "No split 'test'. There are validation. Choose: data.test=NAME"),
    ([], "single", "vit/single has no parquet files of a split in plain, but plain/test: fetch what it has"),
    (["data.hub=vit/plain/x"], "plain", "Repo id must be"),
    (["data.label=class"], "plain", "no column 'class'"),
]


@pytest.mark.parametrize("words, name, answer", WRONG, ids=[" ".join(words) or name for words, name, _ in WRONG])
def test_what_is_not_there_is_told_beside_what_is(client, put, words, name, answer):
    put("plain")
    put("readme", {"README.md": b"# cats", "data/cats.tar": b"cats"})
    put("single", {"data/validation.parquet": b"cats", "plain/test/0000.parquet": b"cats"})
    assert re.search(answer, client.refused(name, *words))


def test_images_without_labels_are_refused(client, put, parquet):
    name = put("unlabelled", {TEST: parquet([-1, -1])})
    assert "images without a label (-1): choose another split" in client.refused(name)


def test_a_download_that_the_disk_cannot_hold_does_not_start(hub, client, put):
    class Huge(bytes):
        def __len__(self) -> int:
            return 10**18

    answer = client.open(put("huge", {TEST: Huge(hub.files["vit/plain"][TEST])}))
    assert answer["status"] == Exit.SPACE and "1000000000.0 GB of vit/huge are to come" in answer["mistake"]
    assert hub.asked == ["GET tree plain"]


def test_a_cache_that_takes_no_receipt_is_compared_at_each_start(hub, client, put):
    name = put("readonly")
    answer = client.open(name)
    (client.cache(name) / "vitrun").rename(client.cache(name) / "receipts")
    (client.cache(name) / "vitrun").touch()
    assert client.open(name) == answer and "will compare all files again" in client.said()
    assert len(hub.asked) == 4, "the bytes came once"


def test_a_full_cache_needs_no_network(client, offline, hub, put):
    answer = client.open(put("kept"))
    hub.asked.clear()
    assert offline.open("kept") == answer and hub.asked == []


def test_a_cache_that_another_tool_filled_is_checked_and_needs_no_network(client, offline, put):
    answer = client.open(put("filled"), "train")
    receipts = client.cache("filled") / "vitrun"
    for file in receipts.iterdir():
        file.unlink()
    assert offline.open("filled", "train") == answer and len(list(receipts.iterdir())) == 1
    blob = (client.cache("filled") / "snapshots" / COMMIT / TRAIN[0]).resolve()
    blob.write_bytes(bytes(blob.stat().st_size + 1))
    assert "HF_HUB_OFFLINE is set" in offline.refused("filled", part="train")
    assert "other bytes than the Hub lists" in offline.said()


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
    for words in (["data.config=null", "data.test=train"], ["data.config=data/more", "data.test=more"]):
        assert "the cache has not all of it" in offline.refused(name, *words)


def test_without_network_and_cache_a_local_copy_is_asked_for(client, offline, put):
    client.open(put("half"))
    why = offline.refused("half", part="train")
    assert "HF_HUB_OFFLINE is set, and the cache has not all of it" in why and "data.path=FOLDER" in why


def test_a_verb_downloads_what_it_needs_and_prints_nothing_but_its_result(hub, client, put, tmp_path):
    name = put("verb")
    words = ["init=random:vit_nano8", "res=32", "shots=1", "seeds=0", "data=folder", f"data.hub=vit/{name}"]
    words += [f"data.revision={COMMIT}", "data.config=plain", "device=cpu", "batch=8"]
    done = subprocess.run(
        [sys.executable, "-m", "vitrun", "fewshot", "--json", *words],
        cwd=tmp_path,
        env=environment(client.home, hub.endpoint),
        capture_output=True,
        text=True,
    )
    assert done.stderr == "" and json.loads(done.stdout)["images_used"] == 3
    log = next((tmp_path / "runs").glob("fewshot-*/log.txt")).read_text()
    assert "test of vit/verb, 1 file, " in log and "train of vit/verb, 2 files, " in log
