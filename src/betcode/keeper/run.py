"""What belongs to one run of one session: its spec, its claude and its files."""

from __future__ import annotations

from betcode.keeper.child import Child
from betcode.keeper.files import Files
from betcode.keeper.journal import Journal
from betcode.keeper.records import StdinRecords
from betcode.keeper.spec import Spec


class Run:
    """Everything that exists once claude is started. `started_unix_s` is the wall time just before."""

    __slots__ = ("child", "files", "journal", "records", "spec", "started_unix_s")

    def __init__(
        self,
        spec: Spec,
        child: Child,
        *,
        journal: Journal,
        records: StdinRecords,
        files: Files,
        started_unix_s: float,
    ) -> None:
        self.spec = spec
        self.child = child
        self.journal = journal
        self.records = records
        self.files = files
        self.started_unix_s = started_unix_s
