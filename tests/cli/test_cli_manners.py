"""Manners of the command line: help that teaches, completion, JSON, progress for those who watch, exit statuses."""

import io
import json
import re
import shlex
import signal
import subprocess
import sys
import time

import pytest
from inputs import make_store

from prh_jax._version import __version__
from prh_jax.cli import metrics
from prh_jax.cli.main import _dashed, main, make_parser
from prh_jax.metrics.registry import HOST_METRICS, METRICS
from prh_jax.runtime.progress import progress

PARSER = make_parser()
COMMANDS = next(action for action in PARSER._actions if action.dest == "command").choices


def examples(text):
    """Command lines of a help text: continued lines joined, remarks behind a wide gap dropped."""
    lines = re.sub(r"\\\n\s+", " ", text).splitlines()
    return [re.split(r" {3,}", line.strip())[0] for line in lines if re.match(r"  (\w+=\w+ )?prh ", line)]


@pytest.mark.parametrize("name", [None, *COMMANDS])
def test_help_has_examples_that_parse(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"] if name is None else [name, "--help"])
    assert stop.value.code == 0
    found = examples(capsys.readouterr().out)
    assert found
    for line in found:
        words = shlex.split(line.split("> ")[0])
        words = words[words.index("prh") + 1 :]
        assert name in (None, words[0]), line
        assert PARSER.parse_args([_dashed(word) for word in words]).command == words[0]


def test_help_says_what_exit_statuses_mean(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    stated = capsys.readouterr().out.split("exit status:")[1]
    assert re.findall(r"^  (\d+) ", stated, flags=re.MULTILINE) == ["0", "1", "2", "130"]


def test_a_command_that_cannot_be_read_is_status_2(capsys):
    for argv in (["aling"], ["align", "--nope"], ["metrics", "--format", "yaml"]):
        with pytest.raises(SystemExit) as stop:
            main(argv)
        assert stop.value.code == 2
        assert "usage: prh" in capsys.readouterr().err


def test_prh_alone_shows_six_commands_and_how_to_see_all(capsys):
    assert main([]) == 2
    shown = capsys.readouterr().out
    listed = re.findall(r"^  (\w+) +(\S.*)$", shown, re.MULTILINE)
    assert [name for name, _ in listed] == ["demo", "extract", "align", "calibrate", "report", "doctor"]
    assert all(COMMANDS[name].description.lower() == f"{summary}.".lower() for name, summary in listed)
    assert all(words in shown for words in (__version__, "prh demo --quick", "prh --help"))


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0 and capsys.readouterr().out == f"prh-jax {__version__}\n"


def test_interruption_is_status_130(monkeypatch, capsys):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(metrics, "run", interrupted)
    assert main(["metrics"]) == 130
    assert "run it again to go on" in capsys.readouterr().err


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_store("a.zarr", "a", (14, 14))
    make_store("b.zarr", "b", (12, 15), seed=1)
    return tmp_path


SLOW = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a suite in the background has ignored
if sys.argv[1] == "import":
    sys.path.insert(0, sys.argv[2])
    import prh_jax.cli.metrics as metrics
    metrics.run = lambda args: __import__("slow_module") and 0
else:
    import prh_jax.cli.metrics as metrics
    metrics.run = lambda args: (print("ready", flush=True), time.sleep(60)) and 0
from prh_jax.cli.main import main
sys.argv = ["prh", "metrics"]
sys.exit(main())
"""


@pytest.mark.parametrize("where", ["import", "work"])
def test_interruption_of_a_process_is_status_130(where, tmp_path):
    """Also where what is imported would swallow the exception, as compiled modules do."""
    (tmp_path / "slow_module.py").write_text(
        "import time\ntry:\n    print('ready', flush=True)\n    time.sleep(60)\nexcept BaseException as error:\n"
        "    raise ImportError('initialization failed') from error\n"
    )
    command = [sys.executable, "-c", SLOW, where, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        told = process.communicate(timeout=30)[1]
    assert process.returncode == 130
    assert told == "\nprh metrics: interrupted; what was finished is kept, run it again to go on.\n"


def test_too_little_memory_is_status_2(monkeypatch, capsys):
    def greedy(_):
        raise MemoryError("Unable to allocate 7.28 TiB")

    monkeypatch.setattr(metrics, "run", greedy)
    assert main(["metrics"]) == 2
    assert capsys.readouterr().err == "prh metrics: error: Unable to allocate 7.28 TiB\n"


@pytest.mark.parametrize(
    "line, words",
    [
        *(
            (f"{command} --memory={size}", f"such as 8GiB.*from 1 byte to 8 EiB.*got '{size}'")
            for command in ("align --x a.zarr -o r.zarr", "plan --x a.zarr")
            for size in ("1e400", "nan", "-1", "1.2.3GB", "0.1", "9EiB")
        ),
        ("align --x a.zarr -o r.zarr --null 99999999999", "at most 2,147,483,647 orders, got orders = 99999999999"),
        ("align --x a.zarr -o r.zarr --null 1 --alpha 1e400", "0 < alpha < 1, got inf"),
        ("align --x a.zarr -o r.zarr --worker 0/0", "--worker 0/0: .*no worker 0 of 0"),
        ("align --x a.zarr -o r.zarr --metric mutual_knn:k=0", "k > 0, got 0"),
        ("align --x a.zarr -o r.zarr --distributed --timeout 0", "--timeout is from 1 second"),
        ("plan --n 40 --models 10000000000 --layers 1 --dim 6", "at most .*10000000000 layers"),
        ("plan --n 40 --models 1 --layers 1 --dim 100000000000000000000", "1,000,000,000 samples.*--dim 100000000000"),
        ("align --x a.zarr -o r.zarr --groups a.zarr", "--groups a.zarr cannot be read: Is a directory"),
        ("import x.npy -o x.zarr --model m --modality vision --ids a.zarr/done/c/0", "--ids .* is no text in UTF-8"),
        ("pack a.zarr -o ", "without a name"),
        ("merge a.zarr -o /", "without a name"),
        ("merge a.zarr -o a\0b", "NUL"),
    ],
)
def test_numbers_and_paths_that_cannot_be(line, words, folder, capsys):
    assert main(line.split(" ")) == 2
    told = capsys.readouterr().err
    assert re.search(words, told) and told.count("\n") == 1, told


def test_a_reader_that_leaves_is_no_error():
    command = f"{shlex.quote(sys.executable)} -m prh_jax metrics --json"
    line = f"{command} | true; exit ${{PIPESTATUS[0]}}"
    # a pipe whose reader is gone before anything is written
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "")


ALIGN = ["align", "--x", "a.zarr", "--y", "b.zarr", "-o", "r.zarr"]


def test_json_is_all_that_is_printed(folder, capsys):
    assert main([*ALIGN, "--json", "--npy", "--null", "19"]) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert told["path"] == "r.zarr" and "The reference's form" in err
    table = told["metrics"]["mutual_knn"]
    assert (table["models_x"], table["models_y"]) == (["a"], ["b"]) and told["null"]["null"]["orders"] == 19
    for other in (["show", "r.zarr"], ["calibrate", "r.zarr", "--null", "19"]):
        assert main([*other, "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == told
    assert main(["metrics", "--json"]) == 0
    assert [row["metric"] for row in json.loads(capsys.readouterr().out)] == list(METRICS | HOST_METRICS)


def test_nothing_moves_where_nobody_watches(folder, capsys):
    for line in (
        " ".join([*ALIGN, "--null", "19"]),
        "inspect a.zarr",
        "pack a.zarr",
        "unpack a.zarr.zip -o c.zarr",
        "export r.zarr -o r.csv",
    ):
        assert main(line.split()) == 0
        assert capsys.readouterr().err == "", line


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_bars_tell_the_time_that_remains(folder, monkeypatch):
    monkeypatch.setattr(sys, "stderr", watched := Terminal())
    assert main(ALIGN) == 0
    assert re.search(r"scoring: +\d+%.*\[\d\d:\d\d<", watched.getvalue())


def test_a_bar_comes_after_a_second_and_leaves(monkeypatch):
    monkeypatch.setattr(sys, "stderr", watched := Terminal())
    assert list(progress(range(3), "quick", "items")) == [0, 1, 2]
    assert "quick" not in watched.getvalue()
    for _ in progress(range(3), "slow", "items"):
        time.sleep(0.6)
    assert re.search(r"slow: +67%.*2/3 \[00:01<00:00", watched.getvalue())
    assert watched.getvalue().endswith("\r")


def completed(script, *words):
    """What bash offers for the last of the words."""
    array = " ".join(map(shlex.quote, words))
    line = f"COMP_WORDS=({array}); COMP_CWORD={len(words) - 1}; _shtab_prh; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "-c", f"{script}\n{line}"], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_bash_completes(folder, capsys):
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    assert completed(script, "prh", "ali") == ["align"]
    assert set(completed(script, "prh", "")) == set(COMMANDS)
    assert set(completed(script, "prh", "align", "--modality-x", "l")) == {"language", "language-decoder"}
    assert set(completed(script, "prh", "align", "--metric", "unb")) == {n for n in METRICS if n.startswith("unb")}
    assert "a.zarr" in completed(script, "prh", "inspect", "a")


@pytest.mark.parametrize("shell", ["zsh", "tcsh"])
def test_other_shells_have_a_script(shell, capsys):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(name in script for name in (*COMMANDS, *METRICS))
