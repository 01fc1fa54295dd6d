"""A small local Hub: the part of the HTTP interface that reads data and weights, with faults on request."""

import hashlib
import json
import os
import socket
import struct
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "c0ffee" + "0" * 34
TOKEN = "hf_test"
LFS_THRESHOLD = 500  # bytes; smaller files are not in LFS
PAGE_SIZE = 1000  # entries in one response


@dataclass
class SmallHub:
    """Data sets and models by name, each a table of files; every request of a kind consumes one of its ``faults``."""

    port: int
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    faults: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    requests: list[str] = field(default_factory=list)  # "GET tree folder", "HEAD file", "GET bytes file 0-"

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def store(self) -> str:
        """Return the origin that serves the bytes, which differs from the endpoint as it does for the Hub."""
        return f"http://localhost:{self.port}"

    def set_faults(self, kind: str, *faults: str) -> None:
        """Answer the next requests of ``kind`` (tree, file or bytes) with these faults; clear ``requests``."""
        self.requests.clear()
        self.faults.clear()
        self.faults[kind] = list(faults)


class Handler(BaseHTTPRequestHandler):
    """Handle requests as huggingface.co does, from the tables of ``hub``."""

    hub: SmallHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        if parts[0] == "store":
            self.send_stored_file("/".join(parts[1:3]), "/".join(parts[3:]))
        elif parts[0] == "api" and parts[1] in ("datasets", "models"):
            self.send_api("/".join(parts[2:4]), *parts[4:])
        elif parts[0] == "datasets":
            self.send_redirect("/".join(parts[1:3]), parts[4], "/".join(parts[5:]))
        elif parts[2:3] == ["resolve"]:
            self.send_redirect("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        else:  # other requests of the client, which do not concern files
            self.send_json_error(404)

    def send_api(self, name: str, what: str = "revision", revision: str = "main", *folder: str) -> None:
        self.hub.requests.append(f"{self.command} {what} {'/'.join(folder)}".strip())
        if self.send_fault(what) or self.reject(name, revision, open_to_all=True):
            return
        if what == "revision":
            self.send_json(
                {"id": name, "sha": COMMIT, "siblings": [{"rfilename": path} for path in self.hub.files[name]]}
            )
            return
        entries = list(list_tree(self.hub.files[name], "/".join(folder)))
        if folder and not entries:
            self.send_json_error(404, "EntryNotFound")
            return
        first = int(parse_qs(urlsplit(self.path).query).get("cursor", ["0"])[0])
        more = f'<{self.hub.endpoint}{urlsplit(self.path).path}?cursor={first + PAGE_SIZE}>; rel="next"'
        self.send_json(entries[first : first + PAGE_SIZE], {"Link": more} if first + PAGE_SIZE < len(entries) else {})

    def send_redirect(self, name: str, revision: str, path: str) -> None:
        self.hub.requests.append(f"{self.command} {path}")
        if self.send_fault("file") or self.reject(name, revision):
            return
        if path not in self.hub.files[name]:
            self.send_json_error(404, "EntryNotFound", {"X-Repo-Commit": COMMIT})
            return
        content = self.hub.files[name][path]
        code = hashlib.sha256(content).hexdigest()
        headers = {"X-Repo-Commit": COMMIT, "X-Linked-Size": str(len(content)), "X-Linked-Etag": f'"{code}"'}
        self.send_content(302, b"", headers | {"Location": f"{self.hub.store}/store/{name}/{path}"})

    def send_stored_file(self, name: str, path: str) -> None:
        content = self.hub.files[name][path]
        first = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        self.hub.requests.append(f"{self.command} bytes {path} {first}-")
        assert "Authorization" not in self.headers, "a token stays with the Hub"
        fault = self.hub.faults["bytes"].pop(0) if self.hub.faults["bytes"] else None
        if fault and fault.isdigit():
            self.send_json_error(int(fault))
        elif fault in ("cut", "reset"):
            self.send_content(200, content[: len(content) * 9 // 10], length=len(content))
            if fault == "reset":  # a socket closed with a linger time of zero sends RST, not FIN
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                os.close(self.connection.detach())
            self.close_connection = True
        elif fault == "wrong":
            self.send_content(200, bytes(len(content)))
        elif first:
            where = {"Content-Range": f"bytes {first}-{len(content) - 1}/{len(content)}"}
            self.send_content(206, content[first:], where)
        else:
            self.send_content(200, content)

    def reject(self, name: str, revision: str, open_to_all: bool = False) -> bool:
        """Reject a request for an unknown or gated data set or an unknown revision; return whether it was rejected."""
        if name not in self.hub.files:
            self.send_json_error(401, "RepoNotFound")
        elif revision not in (COMMIT, "main"):
            self.send_json_error(404, "RevisionNotFound")
        elif name in self.hub.gated and not open_to_all and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.send_json_error(403 if "Authorization" in self.headers else 401, "GatedRepo")
        else:
            return False
        return True

    def send_fault(self, kind: str) -> bool:
        """Answer with the next fault of this kind, if there is one; return whether there was one."""
        if not self.hub.faults[kind]:
            return False
        status, _, wait = self.hub.faults[kind].pop(0).partition(" after ")
        if status == "page":
            self.send_content(200, b"<!DOCTYPE html><html>Please log in</html>", {"Content-Type": "text/html"})
            return True
        self.send_json_error(int(status), headers={"Retry-After": wait} if wait else {})
        return True

    def send_json(self, content: object, headers: dict[str, str] | None = None) -> None:
        self.send_content(200, json.dumps(content).encode(), {"Content-Type": "application/json"} | (headers or {}))

    def send_json_error(self, status: int, code: str = "", headers: dict[str, str] | None = None) -> None:
        self.send_content(status, b'{"error": "no"}', {"X-Error-Code": code} | (headers or {}))

    def send_content(
        self, status: int, content: bytes, headers: dict[str, str] | None = None, length: int | None = None
    ):
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def list_tree(files: dict[str, bytes], folder: str):
    """Yield the entries of a folder as the API of the Hub lists them."""
    prefix, folders = f"{folder}/" if folder else "", set()
    for path, content in files.items():
        first, _, remainder = path.removeprefix(prefix).partition("/")
        if not path.startswith(prefix):
            continue
        if remainder and first not in folders:
            folders.add(first)
            yield {"type": "directory", "path": prefix + first, "oid": "0" * 40, "size": 0}
        elif not remainder and len(content) < LFS_THRESHOLD:
            code = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            yield {"type": "file", "path": path, "oid": code, "size": len(content)}
        elif not remainder:
            code = hashlib.sha256(content).hexdigest()
            lfs = {"oid": code, "size": len(content), "pointerSize": 130}
            yield {"type": "file", "path": path, "oid": "0" * 40, "size": len(content), "lfs": lfs}


@contextmanager
def serve_small_hub():
    """Serve a small Hub until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    Handler.hub = SmallHub(server.server_address[1])
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield Handler.hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
