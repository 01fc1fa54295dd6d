"""DMLab: frames of an agent's view, in TFRecord files of ``tf.Example`` messages with image, filename and label."""

from pathlib import Path

import numpy as np

from vitrun.data.sources.vtab.originals import tfrecord
from vitrun.data.sources.vtab.originals.archive import Archive, OriginalSplit

ARCHIVE = Archive(
    "dmlab",
    "dmlab-{train,validation,test}.tfrecord-* of dmlab.tar.gz",
    "https://storage.googleapis.com/dmlab-vtab/dmlab.tar.gz",
    archives=("dmlab",),
)
# {close, far, very far} x {positive, negative reward}; the authors do not say which number is which.
CLASSES = tuple(f"class {number}" for number in range(6))


def read_split(root: Path, split: str) -> OriginalSplit:
    """Return the frames of a split, keyed by the field ``filename``; images are read from the files when needed."""
    keys: list[str] = []
    labels, ranges = [], []  # ranges: file, first byte and length of each image
    paths = ARCHIVE.find_all(root, f"*{split}*.tfrecord*")
    for path in paths:
        with ARCHIVE.explain_errors(path), open(path, "rb") as file:
            for start, record in tfrecord.read_records(file):
                example = tfrecord.parse_example(record)
                image_bytes, name, label = (example[feature] for feature in ("image", "filename", "label"))
                if not (isinstance(image_bytes, slice) and isinstance(name, slice) and isinstance(label, int)):
                    raise ValueError("its features image and filename are not bytes, or label is not an integer")
                ARCHIVE.check_number(path, len(keys) + 1)
                keys.append(bytes(record[name]).decode())
                labels.append(label)
                ranges.append((path, start + image_bytes.start, image_bytes.stop - image_bytes.start))

    def image(index: int) -> bytes:
        path, start, length = ranges[index]
        with ARCHIVE.explain_errors(path), open(path, "rb") as file:
            file.seek(start)
            return file.read(length)

    return OriginalSplit(
        keys=keys,
        labels={"label": np.array(labels, dtype=np.int64)},
        classes={"label": CLASSES},
        image=image,
        location=f"{paths[0].parent}: {len(paths)} files *{split}*.tfrecord*",
        sizes=np.array([length for _, _, length in ranges], dtype=np.int64),
    )
