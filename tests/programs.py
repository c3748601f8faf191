"""Run the programs of bin/, as a user does or, much faster, in a fork of a warm process."""

import multiprocessing
import os
import re
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

BIN = Path(__file__).resolve().parents[1] / "bin"
SECONDS = 300

# Processes are forked from one that has imported TensorFlow, but not used it yet.
_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(
    [f"tfrnnx.cli.{name}" for name in ("train", "explain", "export", "evaluate", "report", "check")]
)

# What the C++ side of TensorFlow prints, whatever one asks it to.
_CHATTER = re.compile(
    r"WARNING: All log messages before absl::InitializeLog|[IWE]\d{4} \d\d:\d\d:|\d{4}-\d\d-\d\d "
    r"|To enable the following instructions"
)


def wait_for(condition):
    """Wait until a condition holds."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@dataclass(frozen=True)
class Result:
    """What a program left: its exit code, its standard output and error, without chatter."""

    code: int
    out: str
    err: str


def result(code, out, err):
    lines = (line for line in err.splitlines(keepends=True) if not _CHATTER.match(line))
    return Result(code, out, "".join(lines))


def fork(function, *arguments):
    """Call a function in a fork; return the exit code."""
    process = _forks.Process(target=function, args=arguments)
    process.start()
    process.join(SECONDS)
    if process.is_alive():
        process.kill()
        raise TimeoutError(f"{function} {arguments}")
    return process.exitcode


def run(program, *arguments, cwd, **environment):
    """Run a program in a fork."""
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder, name) for name in ("out", "err")]
        code = fork(_run, program, [str(a) for a in arguments], cwd, streams, environment)
        return result(code, *(stream.read_text() for stream in streams))


def _run(program, arguments, cwd, streams, environment):
    for number, stream in enumerate(streams, 1):
        os.dup2(os.open(stream, os.O_WRONLY | os.O_CREAT), number)
    os.chdir(cwd)
    os.environ.update(environment)
    sys.argv = [str(BIN / program), *arguments]
    runpy.run_path(sys.argv[0], run_name="__main__")


def start(program, *arguments, cwd):
    """Start a program as a user does; `finish` waits for its end."""
    # Ignored signals are inherited, handled ones are not. Where the tests run in the background of
    # a shell script, Ctrl-C is ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            [sys.executable, BIN / program, *arguments],
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)


def finish(process, seconds=SECONDS):
    out, err = process.communicate(timeout=seconds)
    return result(process.returncode, out, err)
