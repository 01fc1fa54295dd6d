"""Errors carry the option at fault; a wrong name is reported with the nearest ones."""

import errno
import os

import pytest

from vitrun.errors import ExitCode, UserError, described_os_errors, lookup, shorten, suggest


def test_an_error_shows_its_option_and_value_before_the_reason():
    error = UserError("must be positive.", option="optim.lr", value="-1")
    assert str(error) == "optim.lr=-1: must be positive."
    assert (error.status, error.option) == (ExitCode.COMMAND, "optim.lr")


def test_a_name_that_is_not_in_a_table_is_refused_with_the_nearest():
    with pytest.raises(UserError, match="Unknown model 'vit_b61'. Did you mean vit_b16?") as error:
        lookup({"vit_b16": 1, "vit_l16": 2}, "vit_b61", "model", "model")
    assert error.value.option == "model"


def test_the_last_part_of_an_option_is_enough_to_suggest_it():
    assert suggest("lr", ["data.path", "optim.lr"]) == "Did you mean optim.lr?"


def test_a_few_names_are_listed_in_full_and_many_by_group():
    assert suggest("x", ["seed", "data.path"]) == "Choose one of seed, data.path."
    many = [f"{group}.{number}" for group in ("data", "optim") for number in range(100)]
    assert suggest("x", many) == "Choose one of data.*, optim.*."
    assert suggest("x", []) == "There are none to choose from."


def test_the_nearest_of_very_many_names_without_groups_are_shown():
    answer = suggest("zzz", [f"name_{number}" for number in range(1000)])
    assert answer.endswith("...") or "Did you mean" in answer
    assert len(answer) < 100


@pytest.mark.parametrize(
    "code, status", [(errno.EACCES, ExitCode.DATA), (errno.ENAMETOOLONG, ExitCode.DATA), (errno.ENOSPC, ExitCode.SPACE)]
)
def test_a_file_that_the_system_refuses_is_named_in_one_short_line(code, status):
    with pytest.raises(UserError) as error, described_os_errors():
        raise OSError(code, os.strerror(code), "a\n" + "b" * 5000)
    text = str(error.value)
    assert error.value.status == status and os.strerror(code) in text and "\n" not in text and len(text) < 400


MEMORY_ERRORS = {
    "[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you tried to allocate "
    "4294967296 bytes. Error code 12 (Cannot allocate memory)": (RuntimeError, "(4.3 GB more are needed)"),
    "Unable to allocate 1.50 MiB for an array with shape (3, 512, 1024) and data type uint8": (MemoryError, "(1.6 MB"),
    "malloc of size 2147483648 failed": (MemoryError, "(2.1 GB more"),
    "std::bad_alloc": (RuntimeError, "Out of memory. "),
    "unable to mmap 44 bytes from file </tmp/x>: Cannot allocate memory (12)": (RuntimeError, "Out of memory. "),
    "libtorch_cpu.so: failed to map segment from shared object": (ImportError, "Out of memory. "),
    "can't start new thread": (RuntimeError, "Out of memory. "),
    "": (MemoryError, "Out of memory. "),
}


@pytest.mark.parametrize("message", MEMORY_ERRORS)
def test_running_out_of_memory_is_one_sentence_whatever_a_library_raises(message):
    kind, part = MEMORY_ERRORS[message]
    with pytest.raises(UserError) as error, described_os_errors():
        raise kind(message)
    assert error.value.status == ExitCode.SPACE and part in str(error.value) and "/tmp" not in str(error.value)
    with pytest.raises(RuntimeError), described_os_errors():
        raise RuntimeError("shapes cannot be multiplied")


def test_an_error_of_the_system_without_a_file_is_not_described():
    with pytest.raises(BrokenPipeError), described_os_errors():
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def test_a_path_of_any_length_leaves_a_sentence_that_can_be_read():
    assert shorten("a short one: /x/y.") == "a short one: /x/y."
    assert len(shorten(f"{'d/' * 400}x.png cannot be read.")) < 200
    long = shorten(f"a.csv: {'x, ' * 50_000} has no label. Write one.")
    assert len(long) == 1000 and long.startswith("a.csv: x, ") and long.endswith(" has no label. Write one.")
