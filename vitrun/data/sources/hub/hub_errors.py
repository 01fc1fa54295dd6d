"""Explanations of the errors of the Hub's client, and the way out of each."""

import errno
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vitrun import recipes
from vitrun.data.sources.messages import first_line, typed_override
from vitrun.errors import ExitCode, UserError

WAIT_LOGGER = "huggingface_hub.utils._http"  # logs each failed try and each wait
WAITS = ("Rate limited", "Retrying in")  # how its messages of waits begin


class WaitReporter(logging.Handler):
    """Handler of the client's log that passes on how long it waits for a server, and nothing else."""

    def __init__(self, warn: Callable[[str], None], where: str):
        super().__init__(logging.WARNING)
        self.warn, self.where = warn, where

    def emit(self, record: logging.LogRecord) -> None:
        """Warn of a wait."""
        if (message := record.getMessage()).startswith(WAITS):
            self.warn(f"{self.where}: {message}")


@contextmanager
def report_waits(warn: Callable[[str], None], where: str) -> Iterator[None]:
    """Warn of each wait of the Hub's client, which lasts as long as the server asks for; else it is silent."""
    logger, reporter = logging.getLogger(WAIT_LOGGER), WaitReporter(warn, where)
    level, propagate = logger.level, logger.propagate
    logger.addHandler(reporter)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(reporter)
        logger.setLevel(level)
        logger.propagate = propagate


@contextmanager
def translate_hub_errors(data: recipes.Files, split: str) -> Iterator[None]:
    """Turn what the Hub's client raises into a UserError that says what to do."""
    from huggingface_hub.errors import HTTPError

    try:
        yield
    except (OSError, ValueError, RuntimeError, ArithmeticError, HTTPError) as error:  # arithmetic: seconds to wait
        disk_full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        raise UserError(
            f"{typed_override(data)}: cannot get the split {split} of {data.hub} from the Hub: "
            f"{explain_hub_error(data, error)}. To use a local copy: {data.group}.path=FOLDER",
            ExitCode.SPACE if disk_full else ExitCode.DATA,
        ) from None


def explain_hub_error(data: recipes.Files, error: Exception) -> str:
    """Return what an error of the Hub's client means, and the way out."""
    from huggingface_hub import constants, errors

    if isinstance(error, errors.LocalEntryNotFoundError):
        error = error.__cause__ if isinstance(error.__cause__, Exception) else error
    page = f"{constants.ENDPOINT}/datasets/{data.hub}"
    if isinstance(error, errors.GatedRepoError):
        return f"it is gated; accept its terms on {page} and log in to that account with `hf auth login`"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"it is not on {constants.ENDPOINT}/datasets, or it is private; log in with `hf auth login`"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"it has no revision {data.revision}; its revisions are listed on {page}/commits/main"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, and the cache does not hold all of it"
    if http_status(error) == 401:
        return "the Hub rejects your token; log in again with `hf auth login`"
    incomplete = ", and the cache does not hold all of it" if isinstance(error, errors.HTTPError) else ""
    return first_line(error) + incomplete


def http_status(error: Exception) -> int | None:
    """Return the HTTP status that the Hub answered with, or None if there was no answer."""
    return getattr(getattr(error, "response", None), "status_code", None)
