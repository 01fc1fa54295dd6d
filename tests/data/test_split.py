"""A split decodes its images, and the errors for bad ones."""

from errno import EACCES

import numpy as np
import pytest

from helpers.image_files import BAD_FILES, JPEG, PIXELS, encode_image, make_split
from vitrun import data
from vitrun.data.decode import decode_image
from vitrun.data.in_memory import decode_to_memory
from vitrun.data.split import BadImage
from vitrun.errors import ExitCode, UserError


@pytest.mark.parametrize("what", BAD_FILES)
def test_a_bad_image_error_gives_the_file_the_reason_and_the_way_out(what):
    file, parts = BAD_FILES[what]
    with pytest.raises(BadImage) as error:
        make_split([JPEG, file]).decode(1)
    assert error.value.status == ExitCode.DATA
    for part in ("train/1.jpg is not a readable image", *parts, "remove it."):
        assert part in str(error.value)


def test_a_deleted_file_is_an_error_and_not_a_bad_image(tmp_path):
    gone = data.Split(
        ["cat/1.jpg"], np.zeros(1, int), ("cat",), read_encoded=lambda _: (tmp_path / "1.jpg").read_bytes()
    )
    with pytest.raises(UserError, match=r"cat/1.jpg cannot be read: .*No such file") as error:
        gone.decode(0)
    assert error.value.status == ExitCode.DATA and not isinstance(error.value, BadImage)


def test_an_image_without_permission_is_to_be_made_readable():
    def refuse(index: int) -> bytes:
        raise PermissionError(EACCES, "Permission denied", "1.jpg")

    locked = data.Split(["cat/1.jpg"], np.zeros(1, int), ("cat",), read_encoded=refuse)
    with pytest.raises(UserError, match=r"Permission denied\. Make it readable\."):
        locked.decode(0)


@pytest.mark.parametrize("pixels", [PIXELS, PIXELS[:32, :32]], ids=["by several threads", "tiny"])
def test_images_of_one_size_are_cached_in_memory_only_if_all_can_be_decoded(pixels):
    files = [encode_image(pixels, kind) for kind in ("PNG", "JPEG")] * 300
    cached = decode_to_memory(make_split(files)).pixels
    assert np.array_equal(cached[598], pixels.transpose(2, 0, 1))
    assert all(np.array_equal(cached[row], decode_image(files[row])) for row in range(0, 600, 7))
    files[533] = files[0][:50]
    assert decode_to_memory(make_split(files)).pixels is None
