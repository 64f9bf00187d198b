"""What a reader must not do: write or remove outside of its folder, run code or programs, open connections.

Python tells an audit hook about all of it, as it happens; the hook stays for the life of the process.
"""

from __future__ import annotations

import os
import resource
import sys
import sysconfig
import tempfile
from pathlib import Path

RUNS = {
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "os.startfile",
    "pty.spawn",
    "socket.connect",
    "socket.bind",
    "socket.getaddrinfo",
    "ctypes.dlopen",
    "code.__new__",
    "webbrowser.open",
    "urllib.Request",
}
WRITES = {
    "os.remove": (0,),
    "os.rename": (0, 1),
    "os.mkdir": (0,),
    "os.rmdir": (0,),
    "os.symlink": (1,),
    "os.link": (1,),
    "os.chmod": (0,),
    "os.chown": (0,),
    "os.truncate": (0,),
    "shutil.rmtree": (0,),
    "shutil.move": (0, 1),
    "shutil.copyfile": (1,),
    "sqlite3.connect": (0,),
}
CODE = tuple(os.path.realpath(path) for path in {sys.prefix, sys.base_prefix, *sysconfig.get_paths().values()})


class Guard:
    """Notes what is forbidden while it is on.

    Args:
        folder: where writing is allowed; temporary files go there, too.
    """

    def __init__(self, folder):
        self.folder = os.path.realpath(folder)
        self.code = (*CODE, str(Path(__file__).resolve().parents[2]))
        self.seen: list[str] = []
        self.on = False
        tempfile.tempdir = self.folder
        sys.addaudithook(self._hear)

    def _hear(self, event, arguments):
        if not self.on:
            return
        self.on = False  # what follows may raise events of its own
        try:
            if event in RUNS:
                self.seen.append(f"{event} {arguments!r:.200}")
            elif event == "open":
                path, mode, flags = arguments
                if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND):
                    self._check(event, path)
            elif event in WRITES:
                for place in WRITES[event]:
                    self._check(event, arguments[place])
            elif event == "exec" and not self._is_code(arguments[0].co_filename):
                self.seen.append(f"{event} of {arguments[0].co_filename!r:.100}")
        finally:
            self.on = True

    def _is_code(self, name) -> bool:
        """Whether it is a module that is imported late, or text that a library makes of its own: data classes, named
        tuples, SQLAlchemy's functions."""
        name = os.fsdecode(name) if isinstance(name, (str, bytes)) else ""
        if name.startswith(("<frozen", "<sqlalchemy generated")) or os.path.realpath(name).startswith(self.code):
            return True
        maker = sys._getframe(2).f_code.co_filename.replace(os.sep, "/")
        return name == "<string>" and (
            maker.endswith(("/dataclasses.py", "/collections/__init__.py")) or "/sqlalchemy/" in maker
        )

    def _check(self, event, path) -> None:
        if isinstance(path, (str, bytes, os.PathLike)):
            real = os.path.realpath(os.fsdecode(path).removeprefix("file://").partition("?")[0])
            if (
                not real.startswith(self.folder)
                and real not in ("/dev/null", ":memory:")
                and not os.fsdecode(path).startswith(":memory:")
            ):
                self.seen.append(f"{event} of {path!r:.200}")


def limit(extra_bytes: int) -> None:
    """Lets the process have so much more address space than now, where the system (Linux) says how much that is; no
    core files, no files beyond 200 MB."""
    if (sizes := Path("/proc/self/statm")).exists():
        now = int(sizes.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + extra_bytes, resource.getrlimit(resource.RLIMIT_AS)[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (200 * 2**20, 200 * 2**20))
