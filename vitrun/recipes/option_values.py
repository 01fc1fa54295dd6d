"""Checks of option values that a type cannot express; pydantic calls them before its own."""

import re


def parse_steps_or_share(value: object) -> object:
    """Return ``value`` if it is a number of steps, or a share of the run from 0% to 100%; raise a ValueError if not."""
    share = re.fullmatch(r"(\d+(\.\d+)?)%", value) if isinstance(value, str) else None
    is_number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if share and float(share[1]) <= 100 or is_number:
        return value
    raise ValueError("must be a number of steps, or a share of the run as in 10%.")


def parse_interval(value: object) -> object:
    """Return ``value`` if it is null, or a number of steps or a share above 0; raise a ValueError if not."""
    if value is None or float(str(parse_steps_or_share(value)).rstrip("%")):
        return value
    raise ValueError("must be above 0: a number of steps, or a share of the run as in 5%.")


def parse_bad_images(value: object) -> object:
    """Return ``value`` if it is a number of images, or a share from 0 to 1; raise a ValueError if not."""
    number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if number or isinstance(value, float) and 0 <= value < 1:
        return value
    raise ValueError("must be a number of images, as in 3, or a share below 1, as in 0.01.")


def parse_on_nan(value: object) -> object:
    """Return ``value`` if it is ``stop`` or ``skip:N``; raise a ValueError if not."""
    if isinstance(value, str) and re.fullmatch(r"stop|skip:[1-9]\d{0,8}", value):
        return value
    raise ValueError("must be stop, or skip and the number of batches that may be skipped, as in skip:3.")


def parse_train(value: object) -> object:
    """Return ``value`` if it is ``all``, ``head`` or ``last:N``; raise a ValueError if not."""
    if isinstance(value, str) and re.fullmatch(r"all|head|last:[1-9]\d{0,4}", value):
        return value
    raise ValueError("must be all, head, or last:N as in last:2.")
