"""Files in the cache of the Hub's client, verified by the hashes that name them: the client compares sizes only."""

import re
from pathlib import Path

from vitrun.runtime.files import git_blob_sha1, sha256_file

HASH = re.compile(r"[0-9a-f]{64}|[0-9a-f]{40}")  # SHA-256 of a file in LFS, git's SHA-1 of any other


def has_hash(file: Path, code: str) -> bool:
    """Return whether the bytes of a file have a hash of the Hub."""
    return code == (sha256_file(file) if len(code) == 64 else git_blob_sha1(file))


def verify_cached(path: str | Path) -> Path:
    """Return the path of a file in the cache, which is a link to a blob that is named by its hash.

    Raise OSError, and delete the file, if its bytes have another hash: wrong ones of the right number were downloaded.
    """
    path = Path(path)
    blob = path.resolve()
    if path.is_symlink() and HASH.fullmatch(blob.name) and not has_hash(blob, blob.name):
        blob.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise OSError(f"{path.name} does not have the Hub's checksum: deleted. Run the same command again.")
    return path
