"""A JSON file that is read item by item has the values that it has as a whole, whatever parts it is read in."""

import io
import json

import pytest

from vitrun.data.sources.coco import json_stream
from vitrun.data.sources.coco.json_stream import JsonStream

TREE = {"a é": [], "b": [1, -12.5e3, 'x\\"]é\u2028', None, [[]], {"c": [True, {"d": 1234567}]}], "e": 1234, "f": {}}
WRONG = ('{"a": [1, 2', '{"a": [1 2]}', '{"a": [1,]}', '{"a": 1} {', '{a: 1}', '{"a": nul}', '{"a": "x', "", "{",
         '{"a": 1]', '{"a" 1}', '{"a": [1], }', "[1]", '{"a": [' + "[" * 100_000)  # fmt: skip


def read(text):
    """Return the object in a file, its lists read item by item."""
    stream = JsonStream(io.BytesIO(text if isinstance(text, bytes) else text.encode()))
    result = {}
    for key in stream.read_keys():
        result[key] = [*stream.read_items()] if stream.peek() == "[" else stream.read_value()
    return result


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 10_000])
def test_items_are_those_of_the_whole_text(chunk, monkeypatch):
    monkeypatch.setattr(json_stream, "CHUNK", chunk)
    for text in (json.dumps(TREE), json.dumps(TREE, indent=1, ensure_ascii=False), "\ufeff" + json.dumps(TREE)):
        assert read(text) == TREE


@pytest.mark.parametrize("text", [*WRONG, '{"a": "é"}'.encode("latin-1"), '{"a": 1}'.encode("utf-16")])
def test_what_is_no_json_is_an_error_wherever_it_is_cut(text, monkeypatch):
    for chunk in (1, 10_000):
        monkeypatch.setattr(json_stream, "CHUNK", chunk)
        with pytest.raises(ValueError):
            read(text)


def test_an_error_names_its_character(monkeypatch):
    monkeypatch.setattr(json_stream, "CHUNK", 4)
    with pytest.raises(ValueError, match="at character 12"):
        read('{"a": [1, 2 3]}')
    with pytest.raises(ValueError, match="at byte 7"):
        read(b'{"a": "\xff"}')
