"""dSprites is read a block at a time."""

import zlib

from helpers import vtab_originals as originals

NPZ, TFRECORD = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz", "dmlab-train.tfrecord-00000-of-00002"


def test_dsprites_is_stored_in_small_compressed_blocks(tmp_path):
    originals.dsprites(tmp_path)
    from vitrun.data.sources.vtab.originals import dsprites

    blocks = dsprites.read_blocks(tmp_path / NPZ, 3200)
    assert len(blocks) == 13 and sum(map(len, blocks)) < 64 * 64 * 3200 / 100
    assert {len(zlib.decompress(block)) for block in blocks[:-1]} == {dsprites.BLOCK_SIZE * 64 * 64 // 8}
