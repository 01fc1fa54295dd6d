"""Web shards over HTTP: downloaded once, resumed after a broken connection, an error where they are missing."""

import hashlib
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest

from helpers.tars import expect_data_error, make_sample, open_shards, write_tar
from vitrun import data
from vitrun.config import resolve
from vitrun.data.sources.shards import download
from vitrun.errors import ExitCode, UserError
from vitrun.runs.run import Interrupted


class Server(BaseHTTPRequestHandler):
    """Serve the files of a folder with range requests; each response ends after at most ``most`` bytes."""

    def __init__(self, *args, folder: Path, requests: list[str], most: int):
        self.folder, self.requests, self.most = folder, requests, most
        super().__init__(*args)

    def do_GET(self) -> None:
        file = self.folder / self.path.lstrip("/")
        if not file.is_file():
            return self.send_error(404)
        first = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        version = f'"{hashlib.md5(file.read_bytes()).hexdigest()}"'
        first = first if self.headers.get("If-Range", version) == version else 0
        content = file.read_bytes()[first:]
        self.requests.append(f"{file.name} from {first}")
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", version)
        self.end_headers()
        self.wfile.write(content[: self.most])

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def serve(shards):
    """Return a function that serves the shards and returns the address and the list of requests."""
    servers = []

    def serve(most: int) -> tuple[str, list[str]]:
        requests: list[str] = []
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, folder=shards, requests=requests, most=most))
        Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}", requests

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_remote_shards_are_downloaded_once_and_resumed(shards, serve, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "RETRY_SECONDS", 0.0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    address, requests = serve(most=20_000)
    overrides = [
        "data=shards",
        "data.classes=5",
        f"data.train={address}/train-{{0..1}}.tar",
        "data.test=http://h/val.tar",
    ]
    recipe = resolve.resolve_recipe("pretrain", overrides).data
    split = data.open_split(recipe, "train")
    assert (
        len(split) == 17
        and split.fingerprint == open_shards(shards, "train", "data.train=train-{0..1}.tar").fingerprint
    )
    assert "train-0.tar from 20000" in requests, "a partial download is resumed"
    number = len(requests)
    data.open_split(recipe, "train")
    assert len(requests) == number


def test_a_partial_download_is_not_joined_to_a_changed_file(serve, shards, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(download, "MAX_TRIES", 1)
    address, _ = serve(most=20_000)
    file = tmp_path / "train-0.tar"
    with pytest.raises(UserError, match="ended after 20000"):
        download.download_file(f"{address}/train-0.tar", file, lambda: None, Event())
    other = (shards / "train-1.tar").read_bytes()
    (shards / "train-0.tar").write_bytes(other)
    monkeypatch.setattr(download, "MAX_TRIES", 99)
    download.download_file(f"{address}/train-0.tar", file, lambda: None, Event())
    assert file.read_bytes() == other
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("train-0")) == ["train-0.tar"]


def test_remote_shards_of_equal_name_are_separate_files(shards, serve, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "RETRY_SECONDS", 0.0)
    for number in (0, 1):
        write_tar(
            shards / f"part-{number}" / "data.tar",
            [f for n in range(4 + number) for f in make_sample(40 + 9 * number + n)],
        )
    address, _ = serve(most=10**6)
    overrides = ["data=shards", "data.classes=5", f"data.path={tmp_path / 'kept'}"]
    recipe = resolve.resolve_recipe(
        "pretrain", [*overrides, f"data.train={address}/part-{{0..1}}/data.tar", "data.test=http://h/v.tar"]
    )
    split = data.open_split(recipe.data, "train")
    assert len(split) == 9 and {key.split("/")[0] for key in split.keys} == {"part-0", "part-1"}
    same = [f"data.train={address}/part-0/data.tar", f"data.test={address}/part-1/data.tar"]
    with pytest.raises(UserError, match="kept/data.tar is both a training and a test shard"):
        data.open_split(resolve.resolve_recipe("pretrain", [*overrides, *same]).data, "train")
    twice = [f"data.train={address}/{{0..1}}/../train-0.tar", "data.test=http://h/v.tar"]
    with pytest.raises(UserError, match="train-0.tar is listed twice"):
        data.open_split(resolve.resolve_recipe("pretrain", [*overrides, *twice]).data, "train")
    assert download.local_names(["http://a/x.tar", "http://b/x.tar"]) == ["a/x.tar", "b/x.tar"]


@pytest.mark.parametrize("on_the_net", [True, False], ids=["download", "index"])
def test_a_download_and_the_indexing_can_be_interrupted(shards, serve, tmp_path, monkeypatch, on_the_net):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place = f"{serve(most=10**9)[0]}/" if on_the_net else ""
    overrides = [f"data.path={shards}", *["data.path=new"] * on_the_net][-1:]
    overrides += [
        "data=shards",
        "data.classes=5",
        f"data.train={place}train-{{0..1}}.tar",
        f"data.test={place}val-0.tar",
    ]
    monkeypatch.chdir(tmp_path)

    def stop() -> None:
        raise Interrupted(ExitCode.INTERRUPTED)

    recipe = resolve.resolve_recipe("pretrain", overrides).data
    with pytest.raises(Interrupted):
        data.open_split(recipe, "train", tick=stop)
    assert len(data.open_split(recipe, "train")) == 17


def test_the_error_names_a_remote_shard_that_does_not_exist(serve, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    address, _ = serve(most=10**9)
    message = expect_data_error(tmp_path, f"data.train={address}/train-{{8..9}}.tar")
    assert f"{address}/train-" in message and "404" in message
