"""Small inputs of each kind, and random damages to them."""

import json
import os
import random
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

NAMES = ["a b", "ä", "x\ny", "\x1b[31mred", "-rf", "#1", "a=b", "[x]", "$HOME", "%s", "'", '"', ".hidden", "n" * 240]
SUFFIXES = [".jpg", ".PNG", ".jpeg", ".txt", ".gif", "", ".tar", ".parquet", ".npz", ".safetensors", ".pth", ".bin"]
HOSTILE = [
    *(None, True, -1, 0, 7, 1e308, float("nan"), float("inf"), 10**400, "", "x" * 9000, "../..", "/dev/zero"),
    *("\x1b[31m", "é", "step-00000099", [], {}, [[]], {"a": {"b": {}}}, "[" * 50, "0" * 64, "MANIFEST.json"),
]
Damage = Callable[[Path, random.Random], object]
Answer = tuple[int | None, str]  # exit code and output of a command


class Kind(NamedTuple):
    """Kind of input: how it is made, how it is damaged, and what must be true of the answers."""

    make: Callable[[Path, random.Random], list[list[str]]]  # writes into a folder; returns the commands that read it
    damages: tuple[Damage, ...]
    check: Callable[[Path, list[Answer]], str | None] = lambda root, answers: None  # what is wrong, None if nothing


def encode_image(random_: random.Random) -> bytes:
    """Return a small PNG or JPEG."""
    from PIL import Image

    image = Image.fromarray(np.frombuffer(random_.randbytes(16 * 16 * 3), np.uint8).reshape(16, 16, 3))
    image.save(stream := BytesIO(), random_.choice(["PNG", "JPEG"]))
    return stream.getvalue()


def make_folders(root: Path, random_: random.Random) -> list[list[str]]:
    """Write class folders of images; return a command that reads them."""
    for part in random_.choice([("",), ("train", "test")]):
        for name in "abc":
            folder = root / "in" / part / name
            folder.mkdir(parents=True)
            for number in range(20 if part == "" else 5):  # a tenth may become test images
                (folder / f"{number}.png").write_bytes(encode_image(random_))
    return [read_command("folder", random_)]


def make_parquet(root: Path, random_: random.Random) -> list[list[str]]:
    """Write parquet files of images and labels; return a command that reads them."""
    import pyarrow
    import pyarrow.parquet

    (root / "in").mkdir()
    classes = random_.choice([[0, 1, 2], ["a", "b", "c"]])
    for part in ("train", "test"):
        images = [{"bytes": encode_image(random_), "path": None} for _ in range(12)]
        labels = [classes[number % 3] for number in range(12)]
        table = pyarrow.table({"image": images, "label": labels})
        pyarrow.parquet.write_table(table, root / "in" / f"{part}-00000-of-00001.parquet")
    return [read_command("parquet", random_)]


def make_tars(root: Path, random_: random.Random) -> list[list[str]]:
    """Write web shards; return a command that reads them."""
    (root / "in").mkdir()
    for part in ("train-0", "train-1", "test-0"):
        with tarfile.open(root / "in" / f"{part}.tar", "w") as tar:
            for number in range(6):
                for suffix, content in (("png", encode_image(random_)), ("cls", str(number % 3).encode())):
                    member = tarfile.TarInfo(f"{number:04}.{suffix}")
                    member.size = len(content)
                    tar.addfile(member, BytesIO(content))
    return [[*read_command("shards", random_), "data.train=train-*.tar", "data.test=test-*.tar", "data.classes=3"]]


def read_command(source: str, random_: random.Random) -> list[str]:
    """Return a command that lists or trains on the input."""
    data = [f"data={source}", "data.path=in"]
    if random_.random() < 0.5 and source != "shards":
        return ["data", source, "data.path=in"]
    model = ["model=vit_nano8", "res=16", "batch=4", "steps=1", "warmup=0", "device=cpu", "precision=fp32"]
    return ["pretrain", *data, *model, "runs=runs"]


def make_weights(root: Path, random_: random.Random) -> list[list[str]]:
    """Write the weights of a tiny network in a format; return a command that reads them."""
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    size = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 4, "num_heads": 4}  # vit_nano8's
    network = timm.create_model("vit_tiny_patch16_224", **size, num_classes=3)
    state = network.state_dict()
    file = root / "in" / f"w{random_.choice(['.safetensors', '.pth', '.npz'])}"
    file.parent.mkdir()
    if file.suffix == ".safetensors":
        save_file(state, file)
    elif file.suffix == ".pth":
        torch.save(random_.choice([state, {"state_dict": state, "epoch": 3}, {"model": state}]), file)
    else:
        np.savez(file, **{name: tensor.numpy() for name, tensor in state.items()})
    return [["export", f"init=in/{file.name}", "to=npz", "path=out.npz"]]


def choose_file(root: Path, random_: random.Random) -> Path:
    """Return a regular file of the input."""
    files = sorted(path for path in (root / "in").rglob("*") if path.is_file() and not path.is_symlink())
    return random_.choice(files) if files else root / "in" / "gone"


def choose_folder(root: Path, random_: random.Random) -> Path:
    """Return a folder of the input."""
    return random_.choice([root / "in", *sorted(path for path in (root / "in").rglob("*") if path.is_dir())])


def flip_bits(root: Path, random_: random.Random) -> None:
    """Flip one to eight bits of a file, half the time in its first or last 200 bytes."""
    content = bytearray((file := choose_file(root, random_)).read_bytes())
    for _ in range(random_.randint(1, 8) if content else 0):
        place = random_.choice([range(len(content)), range(min(200, len(content))), range(-min(200, len(content)), 0)])
        content[random_.choice(place)] ^= 1 << random_.randrange(8)
    file.write_bytes(content)


def truncate(root: Path, random_: random.Random) -> None:
    """Cut a file."""
    content = (file := choose_file(root, random_)).read_bytes()
    file.write_bytes(content[: random_.choice([0, 1, random_.randint(0, len(content)), max(0, len(content) - 1)])])


def append_bytes(root: Path, random_: random.Random) -> None:
    """Append zeros, random bytes, or the file itself to a file."""
    content = (file := choose_file(root, random_)).read_bytes()
    more = random_.choice([bytes(1024), random_.randbytes(random_.randint(1, 2000)), content])
    file.write_bytes(content + more)


def replace_content(root: Path, random_: random.Random) -> None:
    """Replace a file by one of another kind."""
    lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n"
    choose_file(root, random_).write_bytes(random_.choice([b"", lfs, b"<html>", random_.randbytes(500), b"PK\x03\x04"]))


def swap_parts(root: Path, random_: random.Random) -> None:
    """Swap two blocks of 512 bytes of a file, as those of a tar's members."""
    content = (file := choose_file(root, random_)).read_bytes()
    blocks = [content[i : i + 512] for i in range(0, len(content), 512)]
    if len(blocks) > 1:
        i, j = random_.sample(range(len(blocks)), 2)
        blocks[i], blocks[j] = blocks[j], blocks[i]
    file.write_bytes(b"".join(blocks))


def rename(root: Path, random_: random.Random) -> None:
    """Give a file or folder another name or suffix."""
    path = random_.choice([choose_file, choose_folder])(root, random_)
    if path.exists() and path != root / "in":
        name = random_.choice([random_.choice(NAMES) + path.suffix, path.stem + random_.choice(SUFFIXES)])
        path.rename(path.with_name(name))


def remove_something(root: Path, random_: random.Random) -> None:
    """Delete a file, or all files of a folder."""
    folder = choose_folder(root, random_)
    for path in [choose_file(root, random_)] if random_.random() < 0.6 else list(folder.iterdir()):
        if path.is_file():
            path.unlink()


def add_special(root: Path, random_: random.Random) -> None:
    """Add a FIFO, a socket, links, a name that is not UTF-8, a deep folder, or a file without permission."""
    path = choose_folder(root, random_) / (random_.choice(["x", "0", *NAMES]) + random_.choice(SUFFIXES))
    if path.exists() or path.is_symlink():
        return
    kind = random_.randrange(8)
    if kind == 0:
        os.mkfifo(path)
    elif kind == 1:
        path.symlink_to(random_.choice(["gone", "..", ".", path.name, "/dev/zero", "/dev/null"]))
    elif kind == 2:
        os.makedirs(os.fsencode(path) + b"\xff\xfe", exist_ok=True)
    elif kind == 3:
        with open(os.fsencode(path) + b"\xe9.png", "wb") as file:
            file.write(encode_image(random_))
    elif kind == 4:
        (path / "/".join(["d"] * 200)).mkdir(parents=True)
    elif kind == 5:
        path.mkdir()
    elif kind == 6:
        path.write_bytes(encode_image(random_))
    else:
        path.write_bytes(b"")


def take_permission(root: Path, random_: random.Random) -> None:
    """Make a file or folder unreadable (without effect for root)."""
    path = random_.choice([choose_file, choose_folder])(root, random_)
    if path.exists():
        path.chmod(0)


def edit_json(
    name: str,
    list_files: Callable[[Path], list[Path]],
    finish: Callable[[Any, random.Random], None] = lambda content, random_: None,
) -> Damage:
    """Return a damage that changes, removes or renames a value of a JSON file, or of the first line of a JSONL file."""

    def damage(root: Path, random_: random.Random) -> None:
        if not (files := list_files(root)):
            return
        file = random_.choice(files)
        text = file.read_text(encoding="utf-8", errors="replace")
        for part in (text.partition("\n")[0], text):
            try:
                content = json.loads(part)
            except (ValueError, RecursionError):
                continue
            change_value(content, random_)
            finish(content, random_)
            file.write_text(json.dumps(content) + text[len(part) :], encoding="utf-8")
            return

    damage.__name__ = f"edit_json {name}"
    return damage


def change_value(content: Any, random_: random.Random) -> None:
    """Change, remove or rename a random value of a JSON tree."""
    while isinstance(content, dict | list) and content:
        keys = list(content) if isinstance(content, dict) else list(range(len(content)))
        key = random_.choice(keys)
        if isinstance(content[key], dict | list) and content[key] and random_.random() < 0.7:
            content = content[key]
            continue
        if random_.random() < 0.2:
            del content[key]
        elif isinstance(content, dict) and random_.random() < 0.3:
            content[random_.choice(["", "x", f"{key} ", "\x1b[31m"])] = content.pop(key)
        else:
            content[key] = random_.choice(HOSTILE)
        return


def on_moved(damage: Damage, choose: Callable[[Path, random.Random], Path | None], name: str = "") -> Damage:
    """Return a damage to only what ``choose`` returns, which is moved to ``place/in/NAME`` while it is damaged."""

    def damage_moved(root: Path, random_: random.Random) -> None:
        if (place := choose(root, random_)) is None:
            return
        moved = root / "place" / "in" / name
        moved.parent.mkdir(parents=True, exist_ok=True)
        place.rename(moved)
        try:
            damage(root / "place", random_)
        finally:
            moved.rename(place)

    damage_moved.__name__ = damage.__name__
    return damage_moved


ANY_FILE = (flip_bits, truncate, replace_content, rename)
WHOLE_FILE = (*ANY_FILE, append_bytes, swap_parts)
KINDS = {
    "folders": Kind(make_folders, (*ANY_FILE, add_special, add_special, remove_something, take_permission)),
    "parquet": Kind(make_parquet, (*WHOLE_FILE, add_special)),
    "tars": Kind(make_tars, (*WHOLE_FILE, add_special)),
    "weights": Kind(make_weights, WHOLE_FILE),
}
