"""The log and the metrics of a run: lines that are added to its files, printed, and passed to trackers."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vitrun.runs import run_files
from vitrun.runs.tracking import Tracking
from vitrun.runtime.console import Screen
from vitrun.runtime.text_format import format_json

GONE = "the folder of the run is gone, deleted or unmounted; bring it back to continue"


class RunLog:
    """What a run logs in its folder; nothing unless it ``writes``."""

    tracking: Tracking

    def __init__(self, folder: Path, screen: Screen, writes: bool):
        self.folder, self.writes = folder, writes
        self.log, self.warn = screen.log, screen.warn
        self.attempt = 0
        self.unwritable: set[str] = set()  # files to which a line could not be added
        self.logged: set[str] = set()  # lines that are logged once

    def write_log_line(self, text: str) -> None:
        """Add a line to ``log.txt``."""
        self.append_line(run_files.LOG_FILE, f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {text}")

    def log_once(self, text: str) -> None:
        """Log a line, unless this run has logged it before."""
        if text not in self.logged:
            self.logged.add(text)
            self.log(text)

    def log_metrics(self, values: dict[str, Any]) -> None:
        """Add a line to ``metrics.jsonl``. A resumed run repeats steps with a higher attempt: the last one counts."""
        self.tracking.log(values)  # first: of a step that was saved, trackers have stored all before it
        self.append_line(run_files.METRICS_FILE, format_json({"attempt": self.attempt, **values}))

    def append_line(self, file: str, line: str) -> None:
        """Add a line to a file of the run; if that fails, warn once for each file and continue."""
        if not self.writes:
            return
        try:
            run_files.append_line(self.folder / file, line)
        except OSError as error:
            if file not in self.unwritable:
                self.unwritable.add(file)
                self.warn(f"Cannot write {self.folder / file}: {error.strerror}. The run continues without its lines.")

    def read_metrics(self, key: str, kind: type = object) -> Iterator[dict[str, Any]]:
        """Yield the lines of ``metrics.jsonl`` that have ``key`` with a value of that kind."""
        lines = run_files.read_json_lines(self.folder / run_files.METRICS_FILE, key)
        return (line for line in lines if isinstance(line[key], kind))

    def last_logged(self, key: str) -> int:
        """Return the highest step that a line of ``metrics.jsonl`` has under ``key``; 0 if there is none."""
        return max((line[key] for line in self.read_metrics(key, int)), default=0)

    @property
    def is_gone(self) -> bool:
        """Return whether the folder has vanished since the run started."""
        return self.attempt > 0 and not self.folder.is_dir()
