"""The small parent process of an embedded postmaster: it ends PostgreSQL when nobody uses it.

Run as a script (`python -I -S embedded_keeper.py USERS_LOCK UID GID PROGRAM ARG…`), standard library
only, so that it starts in milliseconds and needs nothing that an unprivileged account could not read.

Every lightwell process that uses the database holds a *shared* lock on the users file. The keeper
waits for the *exclusive* one: the kernel grants it when the last user has let go, also when that
user was killed with signal 9. It then asks for a fast shutdown. If the keeper itself is killed, the
kernel sends the postmaster the same signal (PR_SET_PDEATHSIG). So no way of dying leaves a database
behind that answers for nobody. Between these two, commands may come and go and share one postmaster,
whichever of them started it.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import sys
import threading

FAST_SECONDS = 20.0
"""How long a fast shutdown (signal 2: checkpoint, then leave) may take before an immediate one."""

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def ask_kernel_to_signal_when_parent_dies(expected_parent: int) -> None:
    """Linux only; elsewhere the keeper's own watch is all there is.

    Must be called after the last change of user: changing credentials clears the setting.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != expected_parent:  # it died before the call: nobody would ever tell us
        os._exit(1)


def become(uid: int, gid: int) -> None:
    """Give up root for good. A no-op for an ordinary user that already is `uid`."""
    if os.geteuid() == uid:
        return
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def _run_postmaster(keeper: int, uid: int, gid: int, command: list[str]) -> None:
    """In the forked child: never returns."""
    try:
        become(uid, gid)
        ask_kernel_to_signal_when_parent_dies(keeper)
        os.execv(command[0], command)
    except OSError as error:
        os.write(2, f"lightwell keeper: cannot run {command[0]}: {error}\n".encode())
    os._exit(126)


def _shut_down_when_unused(users_lock: int, postmaster: int) -> None:
    fcntl.flock(users_lock, fcntl.LOCK_EX)  # granted when the last user is gone; kept until we exit
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        try:
            os.kill(postmaster, number)
        except ProcessLookupError:
            return
        if _gone.wait(FAST_SECONDS):
            return


_gone = threading.Event()


def keep(lock_path: str, uid: int, gid: int, command: list[str]) -> int:
    """Run the postmaster until it ends, or until its last user is gone; its exit code."""
    users_lock = os.open(lock_path, os.O_RDWR | os.O_CLOEXEC)
    keeper = os.getpid()
    postmaster = os.fork()  # from the main thread: PDEATHSIG follows the thread, not the process
    if postmaster == 0:
        _run_postmaster(keeper, uid, gid, command)
    watch = threading.Thread(
        target=_shut_down_when_unused, args=(users_lock, postmaster), daemon=True
    )
    watch.start()
    _, status = os.waitpid(postmaster, 0)
    _gone.set()
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    code = keep(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
    os._exit(code if code >= 0 else 128 - code)  # without waiting for the watching thread
