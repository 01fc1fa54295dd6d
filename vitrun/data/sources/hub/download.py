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
from vitrun.data.sources.parquet import first_line
from vitrun.errors import Exit, Mistake
from vitrun.runtime.console import Progress, Screen
from vitrun.runtime.files import digest

WAITS = (1, 4, 16)  # seconds before another try
MEGA = 10**6


@dataclass(frozen=True)
class Shard:
    """A parquet file of a data set: its path there, its bytes, and their SHA-256 (outside LFS git's SHA-1)."""

    path: str
    size: int
    code: str


class Meter:
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
        speed = done / MEGA / max(time.monotonic() - self.started, 1e-3)
        self.bar.update(done // MEGA, f"MB  {speed:.1f} MB/s")
        self.tick()


def same_size(snapshot: Path, shard: Shard) -> bool:
    """Whether a file is in the cache with as many bytes as it should have."""
    file = snapshot / shard.path
    return file.is_file() and file.stat().st_size == shard.size


def gather(
    data: recipes.Files, split: str, shards: list[Shard], snapshot: Path, screen: Screen, tick: Callable[[], None]
) -> None:
    """Bring the missing files into the cache, and compare the bytes of all."""
    missing = sum(shard.size for shard in shards if not same_size(snapshot, shard))
    snapshot.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(snapshot).free
    if missing > free:
        raise Mistake(
            f"data={data.name}: {missing / 1e9:.1f} GB of {data.hub} are to come, and {snapshot} has room for "
            f"{free / 1e9:.1f} GB. Make room, or choose another place for the cache: HF_HOME=FOLDER",
            Exit.SPACE,
        )
    number = f"{len(shards)} file{'s' * (len(shards) > 1)}"
    screen.say(f"data: {split} of {data.hub}, {number}, {missing / MEGA:.1f} MB to download into {snapshot}")
    total = sum(shard.size for shard in shards)
    with screen.progress(f"{data.name} {split}", total // MEGA) as bar:
        meter = Meter(bar, tick)
        for shard in shards:
            start = meter.done
            obtain(data, shard, snapshot / shard.path, screen, meter)
            meter.move(start + shard.size)


def obtain(data: recipes.Files, shard: Shard, file: Path, screen: Screen, meter: Meter) -> None:
    """Have one file in the cache with the bytes that the Hub lists; wrong ones are removed, and fetched again once."""
    start = meter.done
    for _ in range(2):
        meter.move(start)
        download(data, shard, screen, meter)
        if shard.code == (digest(file) if len(shard.code) == 64 else git_digest(file)):
            return
        screen.warn(f"{shard.path} of {data.hub} has other bytes than the Hub lists: removed.")
        file.resolve().unlink(missing_ok=True)
        file.unlink(missing_ok=True)
    raise Mistake(
        f"data={data.name}: {shard.path} of {data.hub} came twice with other bytes than the Hub lists (SHA-256 "
        f"{shard.code[:16]}). A proxy or mirror between may be at fault: try without it, or data.path=FOLDER",
        Exit.DATA,
    )


def git_digest(file: Path) -> str:
    """The SHA-1 by which git knows a file."""
    content = file.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def download(data: recipes.Files, shard: Shard, screen: Screen, meter: Meter) -> None:
    """Have a file in the cache; a server that fails and a connection that breaks are tried again."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HTTPError

    start = meter.done
    for wait in (*WAITS, None):
        try:
            meter.move(start)
            hf_hub_download(
                data.hub, shard.path, repo_type="dataset", revision=data.revision, tqdm_class=counted(meter.add)
            )
            return
        except HTTPError as error:
            status = status_of(error)
            if wait is None or status not in (None, 408, 429) and status < 500:
                raise
            screen.warn(f"{shard.path} of {data.hub}: {first_line(error)}. Trying again in {wait} s.")
            time.sleep(wait)


def status_of(error: Exception) -> int | None:
    """The HTTP status with which the Hub answered; None where no answer came."""
    return getattr(getattr(error, "response", None), "status_code", None)


def counted(count: Callable[[int], None]) -> type:
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
