"""Download of files from the Hub into the cache of its own client, verified by the hashes that the Hub lists.

The client (huggingface_hub 1.31 to 2.4) resumes interrupted transfers and obeys the server's rate limits. It does not
notice wrong bytes of the right number (it compares sizes only), and does not retry if the server fails after the
headers or the connection is reset: that is done here.
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vitrun import recipes
from vitrun.data.sources.hub.hub_errors import http_status
from vitrun.data.sources.messages import first_line, typed_override
from vitrun.data.sources.retry_after import read_retry_after
from vitrun.errors import ExitCode, UserError
from vitrun.runtime.console import Progress, Screen
from vitrun.runtime.hub_cache import has_hash

RETRY_WAITS = (1, 4, 16)  # seconds before each retry
BYTES_PER_MB = 10**6


@dataclass(frozen=True)
class HubFile:
    """A parquet file of a data set on the Hub."""

    path: str  # in the repository
    size: int  # bytes
    code: str  # SHA-256 of the bytes; git's SHA-1 if the file is not in LFS


class DownloadProgress:
    """The progress of a split's download: moves a bar, and calls ``tick``, which may raise to stop it."""

    def __init__(self, bar: Progress, tick: Callable[[], None]):
        self.bar, self.tick = bar, tick
        self.done = 0  # bytes
        self.started = time.monotonic()

    def add(self, size: int) -> None:
        """Add ``size`` bytes."""
        self.move(self.done + size)

    def move(self, done: int) -> None:
        """Set the progress to ``done`` bytes."""
        self.done = done
        speed = done / BYTES_PER_MB / max(time.monotonic() - self.started, 1e-3)
        self.bar.update(done // BYTES_PER_MB, f"MB  {speed:.1f} MB/s")
        self.tick()


def has_same_size(snapshot: Path, hub_file: HubFile) -> bool:
    """Return whether a file is in the cache with the size that the Hub lists."""
    file = snapshot / hub_file.path
    return file.is_file() and file.stat().st_size == hub_file.size


def download_files(
    data: recipes.Files, split: str, files: list[HubFile], snapshot: Path, screen: Screen, tick: Callable[[], None]
) -> None:
    """Download the missing files into the cache, and verify the bytes of all.

    Raise UserError if the disk has no room for them.
    """
    missing = sum(hub_file.size for hub_file in files if not has_same_size(snapshot, hub_file))
    snapshot.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(snapshot).free
    if missing > free:
        raise UserError(
            f"{typed_override(data)}: {data.hub} needs {missing / 1e9:.1f} GB, but {snapshot} has "
            f"{free / 1e9:.1f} GB free. Free some space, or move the cache: HF_HOME=FOLDER",
            ExitCode.SPACE,
        )
    number = f"{len(files)} file{'s' * (len(files) > 1)}"
    screen.log(f"data: {split} of {data.hub}, {number}, {missing / BYTES_PER_MB:.1f} MB to download into {snapshot}")
    total = sum(hub_file.size for hub_file in files)
    with screen.progress(f"{data.name} {split}", total // BYTES_PER_MB) as bar:
        meter = DownloadProgress(bar, tick)
        for hub_file in files:
            start = meter.done
            download_verified(data, hub_file, snapshot / hub_file.path, screen, meter)
            meter.move(start + hub_file.size)


def download_verified(
    data: recipes.Files, hub_file: HubFile, path: Path, screen: Screen, meter: DownloadProgress
) -> None:
    """Download one file and verify its bytes; if they are wrong, delete it and try once more.

    Raise UserError if they are wrong again.
    """
    start = meter.done
    for _ in range(2):
        meter.move(start)
        download_with_retries(data, hub_file, screen, meter)
        if has_hash(path, hub_file.code):
            return
        screen.warn(f"{hub_file.path} of {data.hub} does not match the Hub's checksum: deleted.")
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
    raise UserError(
        f"{typed_override(data)}: {hub_file.path} of {data.hub} was downloaded twice, and never matched the Hub's "
        f"checksum ({hub_file.code[:16]}...). A proxy or mirror may be the cause: try without it, or use "
        f"{data.group}.path=FOLDER",
        ExitCode.DATA,
    )


def download_with_retries(data: recipes.Files, hub_file: HubFile, screen: Screen, meter: DownloadProgress) -> None:
    """Download a file into the cache; retry if the server fails or the connection breaks."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HTTPError

    start = meter.done
    for wait in (*RETRY_WAITS, None):
        try:
            meter.move(start)
            hf_hub_download(
                data.repository,
                hub_file.path,
                repo_type="dataset",
                revision=data.revision,
                tqdm_class=make_byte_counter(meter.add),
            )
            return
        except HTTPError as error:
            status = http_status(error)
            if wait is None or status not in (None, 408, 429) and status < 500:
                raise
            asked = read_retry_after(getattr(getattr(error, "response", None), "headers", {}))
            seconds = max(wait, asked)
            screen.warn(f"{hub_file.path} of {data.hub}: {first_line(error)}. Trying again in {seconds:g} s.")
            time.sleep(seconds)


def make_byte_counter(count: Callable[[int], None]) -> type:
    """Return a class that stands in for the progress bar of the Hub's client and passes written bytes to ``count``."""

    class ByteCounter:
        def __init__(self, *_: object, **__: object):
            pass

        def __enter__(self) -> "ByteCounter":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def update(self, size: float | None = 1) -> None:
            count(int(size or 0))

        def update_transfer(self, *_: object, **__: object) -> None:  # bytes on the wire are not those of the file
            pass

        close = set_postfix_str = set_transfer_postfix_str = update_transfer

    return ByteCounter
