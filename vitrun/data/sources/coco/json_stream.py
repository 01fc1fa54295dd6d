"""Read a JSON file of any size item by item, with only a part of it in memory."""

import codecs
import json
import re
from collections.abc import Callable, Iterator
from typing import IO, Any

CHUNK = 2**22  # bytes that are read together
WHITE_SPACE = re.compile(r"[ \t\n\r]*")
NEAR_END = 16  # characters: a number, a constant or an escape that is cut off is an error so near to the end


class JsonStream:
    """The text of a JSON file. Methods raise ValueError where it is not JSON in UTF-8."""

    def __init__(self, file: IO[bytes], hook: Callable[[dict[str, Any]], Any] | None = None):
        self.file, self.ended = file, False
        self.to_text = codecs.getincrementaldecoder("utf-8-sig")()
        self.to_value = json.JSONDecoder(object_hook=hook).raw_decode
        self.text, self.place = "", 0  # what is in memory, and how much of it is done
        self.before = 0  # characters that were there before `text`
        self.bytes_read = 0

    def read_on(self) -> bool:
        """Read the next part, at least as long as the text that is not parsed yet; return whether there was any."""
        if self.ended:
            return False
        self.before += self.place
        rest = self.text[self.place :]
        chunk = self.file.read(max(CHUNK, len(rest)))
        self.ended = not chunk
        try:
            self.text, self.place = rest + self.to_text.decode(chunk, final=self.ended), 0
        except UnicodeDecodeError as error:
            byte = self.bytes_read - (len(error.object) - len(chunk)) + error.start
            raise ValueError(f"it is not UTF-8: {error.reason} at byte {byte:,}") from None
        self.bytes_read += len(chunk)
        return True

    def peek(self) -> str:
        """Return the next character that is not white space; an empty string at the end."""
        while True:
            match = WHITE_SPACE.match(self.text, self.place)
            self.place = match.end() if match else self.place
            if self.place < len(self.text) or not self.read_on():
                return self.text[self.place : self.place + 1]

    def take(self, expected: str) -> str:
        """Return the next character, one of ``expected``."""
        char = self.peek()
        if not char or char not in expected:
            what = f"{char!r} is" if char else "it ends"
            raise ValueError(f"{what} at character {self.before + self.place:,}, in place of {' or '.join(expected)}")
        self.place += 1
        return char

    def read_value(self) -> Any:
        """Return the next value."""
        self.peek()
        while True:
            try:
                value, end = self.to_value(self.text, self.place)
            except RecursionError:
                raise ValueError("it is nested too deeply") from None
            except json.JSONDecodeError as error:
                is_cut = error.pos + NEAR_END >= len(self.text) or error.msg.startswith("Unterminated string")
                if not is_cut or not self.read_on():
                    raise ValueError(f"{error.msg} at character {self.before + error.pos:,}") from None
                continue
            if end < len(self.text) or not self.read_on():  # a number at the end may have more digits
                self.place = end
                return value

    def read_items(self) -> Iterator[Any]:
        """Yield the items of a list."""
        self.take("[")
        if self.peek() == "]":
            self.take("]")
            return
        while True:
            yield self.read_value()
            if self.take(",]") == "]":
                return

    def read_keys(self) -> Iterator[str]:
        """Yield the keys of an object; the caller reads the value of each. Nothing may follow the object."""
        self.take("{")
        if self.peek() == "}":
            self.take("}")
        else:
            while True:
                if self.peek() != '"':
                    self.take('"')
                key = str(self.read_value())
                self.take(":")
                yield key
                if self.take(",}") == "}":
                    break
        if self.peek():
            raise ValueError(f"something follows it at character {self.before + self.place:,}")
