"""A keeper whose n-th file operation fails: `python -I -S faulty_keeper.py SRC N MODE FOLDER`, spec on stdin.

MODE `once`: that operation alone. MODE `until_freed`: it and all later ones, until FOLDER/freed exists. In both, a
failing write takes half of the bytes first, as a disk that is getting full does. FOLDER/fired tells that it happened.
"""

import errno
import os
import sys

src, number, mode, folder = sys.argv[1:]
sys.path.append(src)

import betcode.keeper.limits  # noqa: E402

betcode.keeper.limits.RETRY_S = 0.02  # before anyone takes it: a test need not wait a second for each attempt

import betcode.keeper.launch  # noqa: E402
from betcode.keeper.files import Files  # noqa: E402


class FaultyFiles(Files):
    """Counts all operations, of both threads."""

    count = 0

    def fails(self) -> bool:
        FaultyFiles.count += 1
        if mode == "once":
            failing = FaultyFiles.count == int(number)
        else:
            failing = FaultyFiles.count >= int(number) and not os.path.exists(f"{folder}/freed")
        if failing:
            open(f"{folder}/fired", "w").close()
        return failing

    def check(self) -> None:
        if self.fails():
            raise OSError(errno.ENOSPC, "no space, says the test")

    def open(self, path: str, flags: int) -> int:
        self.check()
        return super().open(path, flags)

    def pwrite(self, fd: int, content: bytes, offset: int) -> int:
        if self.fails():
            super().pwrite(fd, content[: len(content) // 2], offset)  # and the system tells nothing of it
            raise OSError(errno.ENOSPC, "no space, says the test")
        return super().pwrite(fd, content[: max(1, len(content) // 2)], offset)  # all writes are short ones

    def fdatasync(self, fd: int) -> None:
        self.check()
        super().fdatasync(fd)

    def ftruncate(self, fd: int, length: int) -> None:
        self.check()
        super().ftruncate(fd, length)

    def replace(self, source: str, target: str) -> None:
        self.check()
        super().replace(source, target)


setattr(betcode.keeper.launch, "Files", FaultyFiles)  # noqa: B010 - the launcher exports it to nobody
betcode.keeper.launch.main()
