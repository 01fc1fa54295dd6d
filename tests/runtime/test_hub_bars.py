"""The Hub's client shows its bars to no quiet command or call, and to others as before."""

import os
import sys

from huggingface_hub.utils import are_progress_bars_disabled

from vitrun.runtime import hub_bars


def test_bars_are_hidden_for_a_while_only(monkeypatch):
    client = sys.modules["huggingface_hub.utils.tqdm"]  # the package has a class of this name
    monkeypatch.setattr(client, "progress_bar_states", {})
    monkeypatch.setattr(client, "HF_HUB_DISABLE_PROGRESS_BARS", None)
    with hub_bars.hidden(quiet=True):
        assert are_progress_bars_disabled()
    assert not are_progress_bars_disabled()
    with hub_bars.hidden(quiet=False):
        assert not are_progress_bars_disabled()
    client.disable_progress_bars()
    with hub_bars.hidden(quiet=True):
        pass
    assert are_progress_bars_disabled(), "as the program of the user had set them"


def test_a_process_without_a_terminal_or_a_quiet_one_shows_no_bars(monkeypatch):
    monkeypatch.setenv(hub_bars.VARIABLE, "")  # to be restored
    for quiet, is_terminal, expected in ((False, True, None), (True, True, "1"), (False, False, "1")):
        monkeypatch.delenv(hub_bars.VARIABLE, raising=False)
        monkeypatch.setattr("sys.stderr", type("Stream", (), {"isatty": lambda self, given=is_terminal: given})())
        hub_bars.hide_in_process(quiet)
        assert os.environ.get(hub_bars.VARIABLE) == expected
