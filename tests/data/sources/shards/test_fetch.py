"""Shards from servers that lie, are slow, or ask to wait."""

import base64
import hashlib
import os
import signal
import time
from email.utils import formatdate
from errno import ENOSPC
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest

from helpers.processes import CommandProcess, read_error_line
from helpers.tars import make_sample, write_tar
from vitrun.data.sources.retry_after import MOST_SECONDS, read_retry_after
from vitrun.data.sources.shards import download
from vitrun.errors import ExitCode, UserError

PAGE = b"<!DOCTYPE html><html><body>Please log in to this network</body></html>" * 20


class Liar(BaseHTTPRequestHandler):
    """Serve one tar under paths that say what is wrong with the answer; ``asked`` gets the paths."""

    def __init__(self, *args, content: bytes, asked: list[str]):
        self.content, self.asked = content, asked
        super().__init__(*args)

    def do_GET(self) -> None:
        lie = self.path.strip("/").split("/")[0]
        self.asked.append(lie)
        getattr(self, f"send_{lie}")(self.asked.count(lie))

    def send(self, body: bytes, status: int = 200, **headers: str | None) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            if value is not None:
                self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def send_page(self, _: int) -> None:
        self.send(PAGE, Content_Type="text/html; charset=utf-8")

    def send_page_as_tar(self, _: int) -> None:
        self.send(PAGE, Content_Type="application/x-tar")

    def send_short(self, _: int) -> None:
        self.send(self.content[:5000], Content_Length=str(len(self.content)))

    def send_unknown_short(self, _: int) -> None:
        self.send(self.content[:5000], Content_Length=None)

    def send_other_range(self, count: int) -> None:
        if count == 1:
            return self.send_short(count)
        self.send(self.content[:5000], 206, Content_Range=f"bytes 0-4999/{len(self.content)}")

    def send_zeros(self, _: int) -> None:
        self.send(bytes(2**20), Content_Length=None)
        for _ in range(50):
            self.wfile.write(bytes(2**20))

    def send_many_digits(self, _: int) -> None:
        self.send(self.content[:5000], Content_Length="9" * 5000)

    def send_loop(self, _: int) -> None:
        self.send(b"", 302, Location=self.path)

    def send_garbage(self, _: int) -> None:
        self.wfile.write(b"\0\xff" * 500)

    def send_hub(self, _: int, digest: str = "") -> None:
        digest = digest or hashlib.sha256(self.content).hexdigest()
        linked = {"X_Linked_ETag": f'"{digest}"', "X_Linked_Size": str(len(self.content))}
        self.send(b"", 302, Location="/unknown/a.tar", **linked)

    def send_other_hash(self, count: int) -> None:
        self.send_hub(count, "0" * 64)

    def send_unknown(self, _: int) -> None:
        self.send(self.content, Content_Length=None)

    def send_unlike_digest(self, _: int) -> None:
        self.send(self.content, Repr_Digest=f"sha-256=:{'A' * 43}=:")

    def send_unlike_md5(self, _: int) -> None:
        self.send(self.content, Content_MD5=f"{'A' * 22}==")

    def send_digest(self, _: int) -> None:
        digest = base64.b64encode(hashlib.sha256(self.content).digest()).decode()
        self.send(self.content, Content_Length=None, Digest=f"crc32c=AAAA,SHA-256={digest}")

    def send_no_address(self, _: int) -> None:
        self.send(b"", 302, Location="http://[::1")

    def send_empty_tar(self, _: int) -> None:
        self.send(bytes(10240))

    def send_few_bytes(self, _: int) -> None:
        self.send(b'{"error": "denied"}', Content_Type="application/json")

    def send_changed(self, count: int, name: str = "", versions: tuple[str, str] = ("", "")) -> None:
        """Send 5,000 bytes of another version first, then what is asked for of this one, whatever ``If-Range`` says."""
        version = {name: versions[count > 1]} if name else {}
        first = int(self.headers.get("Range", "bytes=0-")[6:-1])
        if count == 1:
            other = self.content[:512] + b"other" * 1000
            self.send(other[:5000], Content_Length=str(len(self.content)), **version)
        elif first:
            length = len(self.content)
            self.send(self.content[first:], 206, Content_Range=f"bytes {first}-{length - 1}/{length}", **version)
        else:
            self.send(self.content, **version)

    def send_changed_tag(self, count: int) -> None:
        self.send_changed(count, "ETag", ('"1"', '"2"'))

    def send_changed_weak_tag(self, count: int) -> None:
        self.send_changed(count, "ETag", ('W/"1"', 'W/"2"'))

    def send_changed_time(self, count: int) -> None:
        self.send_changed(count, "Last_Modified", (formatdate(1, usegmt=True), formatdate(2, usegmt=True)))

    def send_busy(self, count: int) -> None:
        self.send(b"", 503, Retry_After="0") if count < 3 else self.send_unknown(count)

    def send_drip(self, _: int) -> None:
        self.send(b"", Content_Length=str(len(self.content)))
        for byte in self.content:
            self.wfile.write(bytes([byte]))
            time.sleep(1)

    def send_silence(self, _: int) -> None:
        time.sleep(100)

    def log_message(self, *_) -> None:
        pass


@pytest.fixture(scope="module")
def tar(tmp_path_factory) -> Path:
    return write_tar(tmp_path_factory.mktemp("tar") / "a.tar", [file for n in range(9) for file in make_sample(n)])


@pytest.fixture(scope="module")
def server(tar):
    """Yield the address of the server, and the list of what it is asked for."""
    asked: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Liar, content=tar.read_bytes(), asked=asked))
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # its client has gone
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


@pytest.fixture
def fetch(server, tmp_path, monkeypatch):
    server[1].clear()
    monkeypatch.setattr(download, "RETRY_SECONDS", 0.0)
    return lambda lie: download.download_file(f"{server[0]}/{lie}/a.tar", tmp_path / "a.tar", lambda: None, Event())


@pytest.mark.parametrize(
    "lie, problem",
    [
        ("page", "a web page"),
        ("page_as_tar", "no tar"),
        ("short", "ended after 5000 of"),
        ("unknown_short", "truncated"),
        ("other_range", "other bytes than those asked for|ended after 5000"),
        ("other_hash", "do not have the hash"),
        ("zeros", "no tar"),
        ("many_digits", "truncated"),
        ("unlike_digest", "do not have the hash"),
        ("unlike_md5", "do not have the hash"),
        ("no_address", "Invalid IPv6 URL"),
        ("empty_tar", "without files"),
        ("few_bytes", "no tar [(]or a compressed one[)], but b'{.error"),
        ("loop", "answers 302 The HTTP server returned a redirect error that would lead to an infinite loop[.] Check"),
        ("garbage", "cannot be downloaded: [?ÿ]{100}[.] Check"),
    ],
)
def test_what_is_not_the_whole_file_is_never_a_shard(fetch, tmp_path, lie, problem):
    with pytest.raises(UserError, match=problem) as error:
        fetch(lie)
    assert error.value.status == ExitCode.DATA and len(str(error.value)) < 400
    assert not (tmp_path / "a.tar").exists()
    assert all(path.stat().st_size for path in tmp_path.glob("*.part")), "only what can be continued is left"


@pytest.mark.parametrize("kind", ["unknown", "hub", "busy", "digest"])
def test_what_is_complete_by_its_hash_or_by_its_end_mark_is_one(fetch, tar, tmp_path, kind):
    fetch(kind)
    assert (tmp_path / "a.tar").read_bytes() == tar.read_bytes()


@pytest.mark.parametrize("kind", ["changed", "changed_tag", "changed_weak_tag", "changed_time"])
def test_bytes_of_two_versions_are_never_joined_whatever_names_the_version(fetch, tar, tmp_path, kind):
    fetch(kind)
    assert (tmp_path / "a.tar").read_bytes() == tar.read_bytes()


def test_each_further_try_is_reported_with_its_address_reason_and_seconds(fetch, server, capsys):
    fetch("busy")
    line = f"{server[0]}/busy/a.tar: the server answers 503 Service Unavailable. Trying again in 0 s."
    assert capsys.readouterr().err.splitlines() == [line] * 2


def test_a_full_disk_leaves_nothing_of_a_file_that_may_have_no_end(fetch, tmp_path, monkeypatch):
    def fill(part, answer, tick) -> None:
        part.write(answer.response.read())
        raise OSError(ENOSPC, "No space left on device")

    monkeypatch.setattr("vitrun.data.sources.shards.fetch.append", fill)
    with pytest.raises(UserError, match="Make room") as error:
        fetch("unknown")
    assert error.value.status == ExitCode.SPACE and not [*tmp_path.iterdir()]


def test_a_server_sets_the_pace_within_bounds():
    def wait(text: str) -> float:
        return read_retry_after({"Retry-After": text})

    assert wait("7") == 7 and wait("99999") == MOST_SECONDS and wait("soon") == wait("") == 0
    assert 5 < wait(formatdate(time.time() + 9, usegmt=True)) < 10


@pytest.mark.parametrize("pace", ["drip", "silence"])
def test_a_stop_is_heard_while_a_server_is_slow(server, tmp_path, pace):
    address, asked = server
    places = [f"data.path={tmp_path / 'shards'}", f"data.train={address}/{pace}/a-{{0..5}}.tar", f"runs={tmp_path}"]
    process = CommandProcess("pretrain", "data=shards", "data.classes=5", "data.test=http://h/v.tar", *places)
    while pace not in asked:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGTERM)
    process.wait()
    assert "Stopped. To continue: vitrun pretrain" in read_error_line(process, ExitCode.TERMINATED)
