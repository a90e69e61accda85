"""Children of a process that has its imports done: each is a process of its own, and starts in milliseconds."""

import os


def fork(call, *args, silent=(1,)):
    """The process id of a child that exits with what the call returns; what it writes to `silent` is dropped."""
    pid = os.fork()
    if pid:
        return pid
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in silent:
        os.dup2(null, stream)
    status = 3
    try:
        status = call(*args)
    finally:
        os._exit(status)


def wait(pid):
    """The exit status of a child; below zero for the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
