"""Help and errors are coloured on a terminal alone."""

import os
import pty
import subprocess
import sys

import pytest

ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
PRH = [sys.executable, "-m", "prh_jax"]


def on_a_terminal(*arguments, **settings):
    """What a command prints on a terminal of its own."""
    leader, follower = pty.openpty()
    environment = ENVIRONMENT | {"TERM": "xterm", "COLUMNS": "100"} | settings
    process = subprocess.Popen([*PRH, *arguments], stdin=follower, stdout=follower, stderr=follower, env=environment)
    os.close(follower)
    printed = b""
    try:
        while part := os.read(leader, 1 << 16):
            printed += part
    except OSError:  # Linux ends a terminal so
        pass
    os.close(leader)
    return process.wait(), printed.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_a_terminal_shows_colours():
    status, text = on_a_terminal("merge", "--help")
    assert status == 0 and "\033[" in text
    status, text = on_a_terminal("show", "nothing.zarr")
    assert status == 2 and "\033[1;31mprh show: error:\033[0m nothing.zarr does not exist" in text
    status, text = on_a_terminal("show")
    assert status == 2 and "\033[1;31mprh show: error:\033[0m" in text


@pytest.mark.parametrize("arguments", [("merge", "--help"), ("show", "nothing.zarr")])
def test_pipes_and_who_asks_for_none_get_plain_text(arguments):
    assert "\033" not in on_a_terminal(*arguments, NO_COLOR="1")[1]
    assert "\033" not in on_a_terminal(*arguments, TERM="dumb")[1]
    done = subprocess.run([*PRH, *arguments], capture_output=True, text=True, env=ENVIRONMENT | {"TERM": "xterm"})
    assert "\033" not in done.stdout + done.stderr and "prh" in done.stdout + done.stderr
