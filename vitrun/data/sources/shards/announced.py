"""What a server says of a whole file in the headers of its answers: size, hash and version."""

import re
from base64 import b64decode
from binascii import Error
from http.client import HTTPMessage
from typing import Any
from urllib.request import HTTPRedirectHandler

SHA256 = re.compile(r"[0-9a-f]{64}")
DIGEST = re.compile(r"\b(sha-?256|md5)=:?([0-9a-z+/]+={0,2})", re.IGNORECASE)
DIGEST_HEADERS = ("Repr-Digest", "Digest", "X-Goog-Hash")  # RFC 9530, RFC 3230, Google's storage
DIGEST_BYTES = {"sha256": 32, "md5": 16}
VERSION_HEADERS = ("ETag", "Last-Modified")
LINKED_SIZE, LINKED_HASH = "X-Linked-Size", "X-Linked-ETag"  # of the Hub, before it redirects to its store
Digest = tuple[str, str]  # algorithm as hashlib names it, hexadecimal digits


class LinkedHeaders(HTTPRedirectHandler):
    """Redirects, and what the Hub says of a file in its LFS before it redirects."""

    def __init__(self) -> None:
        self.size: int | None = None
        self.digest: Digest | None = None

    def redirect_request(self, *parts: Any) -> Any:
        """Return the request to the new address."""
        *_, headers, _ = parts
        self.read(headers)
        return super().redirect_request(*parts)

    def read(self, headers: HTTPMessage) -> None:
        """Take size and SHA-256 of the whole file from the headers of an answer, if they are there."""
        digits = (headers[LINKED_HASH] or "").strip('"').lower()
        self.digest = ("sha256", digits) if SHA256.fullmatch(digits) else self.digest
        self.size = parse_size(headers[LINKED_SIZE]) or self.size


def parse_size(text: str | None) -> int | None:
    """Return a number of bytes in a header, None if there is none, or one that no file has."""
    digits = (text or "").strip()
    return int(digits) if digits.isdecimal() and len(digits) < 19 else None


def read_digest(headers: HTTPMessage, is_whole: bool) -> Digest | None:
    """Return the hash of the whole file in the headers of an answer; None if there is none.

    Args:
        is_whole: Whether the whole file follows; ``Content-MD5`` is the hash of what follows.
    """
    texts = [text for name in DIGEST_HEADERS for text in headers.get_all(name, [])]
    texts += [f"md5={text}" for text in headers.get_all("Content-MD5", []) if is_whole]
    for name, code in DIGEST.findall(" ".join(texts)):
        algorithm = name.lower().replace("-", "")
        try:
            digest = b64decode(code, validate=True)
        except Error:
            continue
        if len(digest) == DIGEST_BYTES[algorithm]:
            return algorithm, digest.hex()
    return None


def read_version(headers: HTTPMessage) -> str:
    """Return what names the version of a file on its server; an empty text if nothing does, or not each byte."""
    tags = ((headers[name] or "").strip() for name in VERSION_HEADERS)
    return next((tag for tag in tags if tag and tag[:2] != "W/"), "")
