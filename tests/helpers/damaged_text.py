# ruff: noqa: E501, SIM905
"""Random lists of overrides, and rows and recipe files of one's own with random damages."""

import random
from functools import cache
from pathlib import Path

from helpers.damages import Kind
from helpers.overrides import REQUIRED_OVERRIDES
from vitrun.recipes import RECIPES, options, tables

VALUES = """0 1 -1 2 0.5 1e-3 null true false auto all last 10% 99% [] [1] [1,2] [a,b] {} {a:1} '' 'a' "a b" nan inf 1e308
-0 1_000 1000000 4000000000 10000000000000000000000 0x10 1e400 a ä a,b ${data} ${oc.env:HOME} range(0,5) glob(*) /dev/null
/dev/zero /etc/passwd/x /nowhere ~ ~nobody/x . .. [[ ]] [} ( ' " \\ \\' a=b = a:b @ file:///x http://x/{0..9}.tar
a-{0..99999999999}.tar a-{5..1}.tar a-{000..127}.tar * last:1 last:99999999999 random:vit_nano8 random:nothing latest
timm: hf: hf:a/b/c torchvision: 300% -5% 1..2 [1,[2,[3]]] [null] [-1] [0] [1e400] 2024-01-01 12:30:00 !!binary <html>""".split()
LONG = [
    "a" * 300,
    "/" + "a/" * 2500,
    "9" * 4300,
    "[" * 60,
    "[" * 3000,
    "(" * 30 + ")" * 30,
    "'" * 99,
    "1," * 900 + "1",
    "{" * 400,
    "x" * 9000,
]
OWN = {
    "model/mine": "# Mine\ndefaults: [_vit, _self_]\nname: mine\npatch: 8\nwidth: 64\ndepth: 2\nheads: 4\nmlp: 256\n",
    "data/mine": "# Mine\ndefaults: [shapes, _self_]\nname: mine\ntrain_images: 100\ntest_images: 50\narea: [0.1, 1.0]\n",
    "optim/mine": "# Mine\ndefaults: [adam, _self_]\nlr: 0.002\nbetas: [0.9, 0.95]\n",
    "protocol/mine": "# @package _global_\n# Mine\ncommands: [pretrain]\nfor_data: ['*']\nprotocol: mine\nbatch: 7\n"
    "by_model:\n  vit_nano8 vit_ti16:\n    optim: {lr: 0.003}\n    about: small ones\n    published: [batch=8]\n",
    "recipe": 'model: vit_nano8\nbatch: 64\nsteps: 5\nwarmup: 1\noptim:\n  lr: 2e-3\n  betas: [0.9, 0.95]\nruns: "a, b"\n',
}
LINES = [
    "\t",
    "a: [",
    "name: mine",
    "name: 7",
    "- a",
    "a: b: c",
    "x: &x [1,2]",
    "y: *x",
    "z: *z",
    "? [1]",
    "<<: *x",
    "&a",
    "!!python/object:os.system {}",
    "---",
    "...",
    "%YAML 9",
    "1: 2",
    "null: 1",
    "depth: 1000000",
    "width: 9e99",
    "batch: " + "9" * 4400,
    "lr: .nan",
    "lr: .inf",
    "d: 2024-01-01",
    "d: 2024-99-99",
    "b: !!binary AAA",
    "s: !!set {a}",
    "defaults: 5",
    "defaults: [nowhere]",
    "defaults: [mine]",
    "defaults: [{a: b}]",
    "defaults: [override /model: x]",
    "x: ${oc.env:NOTHING}",
    "x: ${",
    "x: ${x}",
    "name: ''",
    "name: null",
    "kind: vit",
    "kind: [1]",
    "by_model: 3",
    "by_model: {a: 3}",
    "by_model: {vit_nano8: {batch: [}}",
    "by_model: {vit_nano8: {published: 5}}",
    "published: [a]",
    "commands: 3",
    "commands: [nothing]",
    "for_data: a",
    "other_models: refused",
    "res: 1000000",
    "data: {name: x}",
    "model: {a: 1}",
    "optim: 3",
    "runs: [a]",
    "path: /etc/passwd/x",
    "classes: 4000000000",
    "l: " + "[" * 1000,
    "m: " + "{a: " * 500,
    "x: " + "a" * 9000,
    "batch: true",
    "\x00",
    "\x1b[31m",
    "\ufeff",
    "\u2028x: 1",
    "'",
    '"',
    "|",
    ">",
    "#",
    "_target_: os.system",
    "hydra: {run: 1}",
    "package: x",
    "steps: 5",
    "epochs: 1e300",
    "depth: 08",
    "depth: 1:20",
    "depth: '2'",
    "depth: [2]",
    "depth:",
]


@cache
def list_choices(command: str) -> dict[str, list[str]]:
    """Return values that fit, of each option and group of a command."""
    choices = {group: list(names) for group, names in tables.list_groups(command).items()}
    for key in options.list_options(command):
        choices[key] = options.list_allowed_values(command, key) or ["1", "2", "0.5", "16", "null", "a"]
    return choices


def make_overrides(root: Path, random_: random.Random) -> list[list[str]]:
    """Return a command with --cfg and up to four random overrides, half of them hardly values of the option."""
    print("damage: overrides")
    command = random_.choice(list(RECIPES))
    choices = list_choices(command)
    overrides = list(REQUIRED_OVERRIDES[command]) if random_.random() < 0.8 else []
    for _ in range(random_.randint(1, 4)):
        key = random_.choice(list(choices))
        value = random_.choice(random_.choice([choices[key], VALUES, VALUES, LONG]))
        if any(one.startswith(f"{key}=") for one in overrides) and random_.random() < 0.9:
            continue
        overrides.append(f"{key}={damage_text(value, random_) if random_.random() < 0.2 else value}")
    if random_.random() < 0.1:
        overrides.append(damage_text(random_.choice(overrides), random_))
    typed = [one.replace("\0", "") for one in overrides]
    return [[command, *typed, *random_.choice(["--cfg", "--cfg", "-m --cfg"]).split()]]


def damage_text(text: str, random_: random.Random) -> str:
    """Return a text with a part removed, repeated, or replaced."""
    start = random_.randint(0, len(text))
    end = min(len(text), start + random_.randint(0, 3))
    new = random_.choice(
        ["", text[start:end] * 2, random_.choice(VALUES), random_.choice("[]{}(),='\"\\ \n\t:.-+~$%*9")]
    )
    return text[:start] + new + text[end:]


def make_rows(root: Path, random_: random.Random) -> list[list[str]]:
    """Write a row, a protocol or a recipe file; return a command that reads it."""
    kind = random_.choice(list(OWN))
    file = root / "in" / (f"{kind}.yaml" if "/" in kind else "mine.yaml")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(OWN[kind], encoding="utf-8")
    if kind == "recipe":
        return [["pretrain", "recipe=in/mine.yaml", "--cfg"]]
    group = kind.split("/")[0]
    if group in ("model", "data") and random_.random() < 0.2:
        return [["models", "only=mine", "--config-dir", "in"] if group == "model" else ["data", "--config-dir", "in"]]
    other = "model=vit_nano8" if group != "model" else "data=shapes"
    return [["pretrain", other, f"{group}=mine", "--config-dir", "in", "--cfg"]]


def find_text(root: Path) -> Path:
    """Return the file of the case."""
    return next((path for path in (root / "in").rglob("*.yaml") if path.is_file()), root / "in" / "gone.yaml")


def damage_lines(root: Path, random_: random.Random) -> None:
    """Remove, repeat, replace, indent or add a line."""
    lines = (file := find_text(root)).read_text(encoding="utf-8", errors="surrogateescape").splitlines() or [""]
    place = random_.randrange(len(lines))
    part = random_.choice(
        [[], [lines[place]] * 2, [" " + lines[place]], [random_.choice(LINES)], [lines[place], random_.choice(LINES)]]
    )
    lines[place : place + 1] = part
    file.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="surrogateescape")


def damage_characters(root: Path, random_: random.Random) -> None:
    """Change a few characters."""
    text = (file := find_text(root)).read_text(encoding="utf-8", errors="surrogateescape")
    file.write_text(damage_text(text, random_), encoding="utf-8", errors="surrogateescape")


def encode_otherwise(root: Path, random_: random.Random) -> None:
    """Write the file in another encoding, or with another end of lines."""
    text = "# für\n" + (file := find_text(root)).read_text(encoding="utf-8", errors="replace")
    encoding = random_.choice(["utf-16", "utf-16-be", "latin-1", "utf-8-sig", "utf-32", "cp500"])
    file.write_bytes(text.replace("\n", random_.choice(["\n", "\r\n", "\r"])).encode(encoding, errors="replace"))


def add_bomb(root: Path, random_: random.Random) -> None:
    """Append aliases of aliases, deep nesting, or very many values."""
    bombs = [
        "a0: &a0 [1, 1]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)),
        "".join("  " * n + f"k{n}:\n" for n in range(300)),
        f"deep: {'[' * 5000}{']' * 5000}\n",
        f"many: [{'1, ' * 50_000}]\n",
        "chain0: &c0 [1]\n" + "".join(f"chain{n}: &c{n} [*c{n - 1}]\n" for n in range(1, 2000)),
        "self: &s [*s]\n",
    ]
    with find_text(root).open("a", encoding="utf-8") as file:
        file.write(random_.choice(bombs))


def become_folder(root: Path, random_: random.Random) -> None:
    """Replace the file by a folder, a dangling link, a FIFO or an endless device."""
    import os

    (file := find_text(root)).unlink()
    action = random_.choice(
        [
            file.mkdir,
            lambda: file.symlink_to("gone"),
            lambda: file.symlink_to("/dev/zero"),
            lambda: os.mkfifo(file),
            lambda: file.symlink_to(file.name),
        ]
    )
    action()


DAMAGES = (
    damage_lines,
    damage_lines,
    damage_lines,
    damage_characters,
    damage_characters,
    encode_otherwise,
    add_bomb,
    become_folder,
)
KINDS = {"overrides": Kind(make_overrides, (lambda root, random_: None,)), "rows": Kind(make_rows, DAMAGES)}
