"""Limits of overrides and of files of one's own: refused in one sentence before they cost memory or time."""

import pytest

from helpers.overrides import SCRATCH
from vitrun.config import resolve
from vitrun.config.overrides import expand_sweep, split_values
from vitrun.errors import UserError
from vitrun.recipes import yaml_file

SHARDS = ["data=shards", "data.path=.", "data.classes=9"]


@pytest.mark.parametrize(
    "option, overrides",
    [
        ("res", ["res=1000000"]),
        ("batch", ["batch=1000000000000"]),
        ("steps", ["steps=100000000000"]),
        ("epochs", ["epochs=1e300"]),
        ("seed", ["seed=99999999999999999999"]),
        ("model.depth", ["model.depth=1000000"]),
        ("model.width", ["model.width=900000", "model.depth=1000", "model.heads=1"]),
        ("data.classes", [*SHARDS[:2], "data.classes=4000000000"]),
        ("data.train", [*SHARDS, "data.train=a-{0..99999999999}.tar"]),
        ("data.train", [*SHARDS, "data.train=a-{0..9999}-{0..9999}.tar"]),
        ("data.test", [*SHARDS, "data.test=a-{9..0}.tar"]),
        ("data.train_images", ["data=shapes", "data.size=1024", "data.train_images=1000000"]),
        ("fewshot.seeds", [f"fewshot.seeds=[{','.join(map(str, range(1500)))}]"]),
        ("model.depth", [f"model.depth={'9' * 4300}"]),
        ("data.path", ["data=folder", f"data.path={'a' * 300}"]),
        ("runs", [f"runs={'a' * 300}"]),
        ("runs", ["runs=/dev/null/a"]),
        ("recipe", [f"recipe={'a' * 300}"]),
        ("runs", [f"runs={'a' * 9000}"]),
        ("runs", [f"runs={'a/' * 300}b"]),  # nested more deeply than Python creates folders
        ("view.crop", ["view.crop=1e-320"]),
        ("head_bias", ["head_bias=1e308"]),
        ("fewshot.paths", ["fewshot.paths=\udcff"]),  # a byte that is not UTF-8, in an error's message
    ],
)
def test_an_override_that_nothing_can_take_is_refused_by_its_option(option, overrides):
    with pytest.raises(UserError) as error:
        resolve.resolve_recipe("pretrain", ["model=vit_nano8", *overrides], running=False)
    assert error.value.option == option


def test_a_path_too_long_for_weights_is_refused_by_its_option():
    with pytest.raises(UserError) as error:
        resolve.resolve_recipe("finetune", [f"init={'a' * 300}"], running=False)
    assert str(error.value).startswith("init=")


def test_a_search_and_a_sweep_are_counted_before_they_are_expanded():
    grid = ",".join(f"{n}e-5" for n in range(1, 100))
    with pytest.raises(UserError) as error:
        resolve.resolve_recipe("finetune", [SCRATCH, "data=shapes", "dev=0.1", f"grid=[{grid}]", f"decays=[{grid}]"])
    assert error.value.option == "grid"
    for sweep in (["seed=range(0,100000000000)"], ["seed=range(0,999)", "batch=range(1,99)"]):
        with pytest.raises(UserError):
            expand_sweep("pretrain", sweep)


@pytest.mark.parametrize("option", ["l2", "linear.l2"])
def test_a_penalty_that_no_float32_has_is_refused_by_its_option(option):
    probe = ["probe=linear"] * (option == "linear.l2")
    with pytest.raises(UserError) as error:
        resolve.resolve_recipe("fewshot", [SCRATCH, "data=shapes", *probe, f"{option}=[1,1e308]"])
    assert error.value.option == option


@pytest.mark.parametrize("text", ["[" * 5000, "([{" * 2000, "'[" * 1000, "[a," * 2000 + "]" * 9])
def test_brackets_that_are_never_closed_are_split_in_time_that_is_no_power(text):
    assert ",".join(split_values(text)) == text


SOUND = "lr: 2e-3\nbetas: [0.9, 0.95]\nname: 'ä'\nbase: &b {x: 1}\nmore:\n  <<: *b\n  y: [*b]\n"


def test_a_sound_file_is_read_whatever_its_line_ends_and_with_aliases(tmp_path):
    file = tmp_path / "mine.yaml"
    for text in (SOUND, SOUND.replace("\n", "\r\n"), "\ufeff" + SOUND):
        file.write_bytes(text.encode())
        tree = yaml_file.read_options(file)
        assert tree["betas"] == [0.9, 0.95] and tree["more"] == {"x": 1, "y": [{"x": 1}]}


BOMB = b"a0: &a0 [1]\n" + b"".join(
    b"a%d: &a%d [%s]\n" % (n, n, b",".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 9)
)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"a: 1\nb: [\n", "line 3 is not YAML"),
        (b"a: 1\n\tb: 2\n", "line 2 is not YAML"),
        (b"a: 1\nb: 2\na: 3\n", "line 3 has a a second time"),
        ("a: 1\nb: ä\n".encode("latin-1"), "line 2 is not UTF-8"),
        ("a: ä\n".encode("utf-16"), "UTF-16"),
        (b"a: 1\nb: \x00\n", "line 2 is not YAML"),
        (b"- a\n- b\n", "has no options"),
        (b"a: " + b"[" * 5000, "line 1"),
        (BOMB, "values"),
        (b"a: &a [*a]\n", "stands for itself"),
        (
            b"".join(b"k%d: &k%d [%s]\n" % (n, n, b"*k%d" % (n - 1) if n else b"1") for n in range(99)),
            "within each other",
        ),
        (b"a: 1\nb: 2024-99-99\n", "line 2"),
        (b"a: " + b"9" * 4400, "line 1 has a number"),
        (b"a: !!python/object:os.system {}\n", "line 1"),
        (b"1: a\n", "line 1: '1' is not a name"),
        (b"optim.lr: 1\n", "write optim: {lr: VALUE}"),
        (b"a: 1\n---\nb: 1\n", "line 2 is not YAML"),
        (b"#" * 300_000, "larger than"),
    ],
)
def test_a_file_that_is_no_yaml_with_options_is_refused_with_its_line(tmp_path, content, message):
    (file := tmp_path / "mine.yaml").write_bytes(content)
    with pytest.raises(yaml_file.UnreadableError, match=message) as error:
        yaml_file.read_options(file)
    assert len(str(error.value)) < 250


@pytest.mark.parametrize("make", ["mkdir", "link", "fifo"])
def test_a_row_that_is_no_file_is_refused_by_name(tmp_path, monkeypatch, make):
    import os

    monkeypatch.chdir(tmp_path)
    (file := tmp_path / "conf/model/mine.yaml").parent.mkdir(parents=True)
    {"mkdir": file.mkdir, "link": lambda: file.symlink_to("gone"), "fifo": lambda: os.mkfifo(file)}[make]()
    with pytest.raises(UserError, match="./conf/model/mine.yaml"):
        resolve.resolve_recipe("pretrain", ["model=mine"])


@pytest.mark.parametrize(
    "row, option, value",
    [
        ("aa_resnet50", "kappa", "0"),
        ("aa_resnet50", "upsilon", "0.01"),
        ("aa_resnet50", "stages", "0"),
        ("sasa50", "heads", "7"),
        ("sasa50", "window", "6"),
        ("sasa50", "stages", "5"),
        ("sasa50", "border", "reflect"),
        ("wrn28_10", "stem", "attention"),
    ],
)
def test_a_resnet_that_cannot_be_is_refused_by_its_option(row, option, value):
    with pytest.raises(UserError) as error:
        resolve.resolve_recipe("pretrain", [f"model={row}", f"model.{option}={value}"], running=False)
    assert (error.value.option, error.value.value) == (f"model.{option}", value)
