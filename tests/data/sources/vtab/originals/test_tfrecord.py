"""Checksums of TFRecord files."""

from helpers import tfrecords as records
from vitrun.data.sources.vtab.originals import tfrecord


def test_checksums_are_crc32c():
    assert records.compute_crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C
    for data in (b"", b"123456789", bytes(8), bytes(range(256))):
        assert tfrecord.masked_crc(data).to_bytes(4, "little") == records.mask_crc(data)
