"""Files of the Hub brought into the cache of its own client, with the bytes that the Hub lists.

The client (huggingface_hub 1.31 to 2.4) resumes a transfer that was cut, and waits where the server asks it to. Left to
us are wrong bytes of the right number (it compares sizes only), a server that fails after it promised a file, and a
connection that is reset.
"""

import hashlib
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitrun import recipes
from vitrun.data.sources.messages import first_line
from vitrun.errors import ExitCode, UserError
from vitrun.runtime.console import Progress, Screen
from vitrun.runtime.files import sha256_file

RETRY_WAITS = (1, 4, 16)  # seconds before another try
BYTES_PER_MB = 10**6


@dataclass(frozen=True)
class HubFile:
    """A parquet file of a data set: its path there, its bytes, and their SHA-256 (outside LFS git's SHA-1)."""

    path: str
    size: int
    code: str


class DownloadProgress:
    """How much of a split is here: moves a bar, and lets the user stop."""

    def __init__(self, bar: Progress, tick: Callable[[], None]):
        self.bar, self.tick = bar, tick
        self.done = 0  # bytes
        self.started = time.monotonic()

    def add(self, size: int) -> None:
        """Count ``size`` bytes more."""
        self.move(self.done + size)

    def move(self, done: int) -> None:
        """Stand at ``done`` bytes."""
        self.done = done
        speed = done / BYTES_PER_MB / max(time.monotonic() - self.started, 1e-3)
        self.bar.update(done // BYTES_PER_MB, f"MB  {speed:.1f} MB/s")
        self.tick()


def has_same_size(snapshot: Path, shard: HubFile) -> bool:
    """Whether a file is in the cache with as many bytes as it should have."""
    file = snapshot / shard.path
    return file.is_file() and file.stat().st_size == shard.size


def download_files(
    data: recipes.Files, split: str, shards: list[HubFile], snapshot: Path, screen: Screen, tick: Callable[[], None]
) -> None:
    """Bring the missing files into the cache, and compare the bytes of all."""
    missing = sum(shard.size for shard in shards if not has_same_size(snapshot, shard))
    snapshot.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(snapshot).free
    if missing > free:
        raise UserError(
            f"{data.group}={data.name}: {missing / 1e9:.1f} GB of {data.hub} are to come, and {snapshot} has room for "
            f"{free / 1e9:.1f} GB. Make room, or choose another place for the cache: HF_HOME=FOLDER",
            ExitCode.SPACE,
        )
    number = f"{len(shards)} file{'s' * (len(shards) > 1)}"
    screen.log(f"data: {split} of {data.hub}, {number}, {missing / BYTES_PER_MB:.1f} MB to download into {snapshot}")
    total = sum(shard.size for shard in shards)
    with screen.progress(f"{data.name} {split}", total // BYTES_PER_MB) as bar:
        meter = DownloadProgress(bar, tick)
        for shard in shards:
            start = meter.done
            download_verified(data, shard, snapshot / shard.path, screen, meter)
            meter.move(start + shard.size)


def download_verified(data: recipes.Files, shard: HubFile, file: Path, screen: Screen, meter: DownloadProgress) -> None:
    """Have one file in the cache with the bytes that the Hub lists; wrong ones are removed, and fetched again once."""
    start = meter.done
    for _ in range(2):
        meter.move(start)
        download_with_retries(data, shard, screen, meter)
        if shard.code == (sha256_file(file) if len(shard.code) == 64 else git_blob_sha1(file)):
            return
        screen.warn(f"{shard.path} of {data.hub} has other bytes than the Hub lists: removed.")
        file.resolve().unlink(missing_ok=True)
        file.unlink(missing_ok=True)
    raise UserError(
        f"{data.group}={data.name}: {shard.path} of {data.hub} came twice with other bytes than the Hub lists (SHA-256 "
        f"{shard.code[:16]}). A proxy or mirror between may be at fault: try without it, or {data.group}.path=FOLDER",
        ExitCode.DATA,
    )


def git_blob_sha1(file: Path) -> str:
    """The SHA-1 by which git knows a file."""
    content = file.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def download_with_retries(data: recipes.Files, shard: HubFile, screen: Screen, meter: DownloadProgress) -> None:
    """Have a file in the cache; a server that fails and a connection that breaks are tried again."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HTTPError

    start = meter.done
    for wait in (*RETRY_WAITS, None):
        try:
            meter.move(start)
            hf_hub_download(
                data.hub,
                shard.path,
                repo_type="dataset",
                revision=data.revision,
                tqdm_class=make_byte_counter(meter.add),
            )
            return
        except HTTPError as error:
            status = http_status(error)
            if wait is None or status not in (None, 408, 429) and status < 500:
                raise
            screen.warn(f"{shard.path} of {data.hub}: {first_line(error)}. Trying again in {wait} s.")
            time.sleep(wait)


def http_status(error: Exception) -> int | None:
    """The HTTP status with which the Hub answered; None where no answer came."""
    return getattr(getattr(error, "response", None), "status_code", None)


def make_byte_counter(count: Callable[[int], None]) -> type:
    """What the Hub's client takes for a progress bar: it passes the number of written bytes to ``count``."""

    class Counted:
        def __init__(self, *_: Any, **__: Any):
            pass

        def __enter__(self) -> "Counted":
            return self

        def __exit__(self, *_: Any) -> None:
            pass

        def update(self, size: float | None = 1) -> None:
            count(int(size or 0))

        def update_transfer(self, *_: Any, **__: Any) -> None:  # bytes on the wire are not those of the file
            pass

        close = set_postfix_str = set_transfer_postfix_str = update_transfer

    return Counted
