"""Looks for inputs that the readers of foreign bytes cannot bear: `make fuzz` (ND-10).

With `atheris` installed (extra `fuzz`) inputs are bred by what code they reach. Without it recorded ones are damaged at
random. Either way the recordings of the real CLI are where it begins, an input that is found is saved, and
`--repeat FILE` runs it again.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.util
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import apsw

RECORDINGS = Path(__file__).parents[3] / "tests/recordings"
FOUND = Path("build/fuzz")
INPUT_BYTES_MAX = 65_536
PAGE_BYTES = 1024
"""Size of the database pages that are tried: small, so that much of each is reached."""
LITTLE = (b"\n", b'"', b"\\", b"\\ud800", b"{", b"}", b"[" * 300, b"\xff", b"\0", b"null", b"1e999", b"-", b":", b",")
"""What is put in between."""
Target = Callable[[bytes], None]


def seeds(recordings: Path) -> list[bytes]:
    """Recorded lines and short recordings, each with the byte that chooses its reader."""
    found = [b"\3" + b'{"op":"send","id":1,"session":"s","key":"k","text":"x"}', b"\4\0\0\0\2\1{}"]
    for path in sorted(recordings.rglob("*.ndjson")):
        data = path.read_bytes()
        kind = b"\3" if path.name.endswith(".stdin.ndjson") else b"\0"
        found += [kind + line for line in data.split(b"\n") if line] + [kind + data[:INPUT_BYTES_MAX]]
    for path in sorted((recordings / "transcripts").glob("*.jsonl")):
        found.append(b"\2" + path.read_bytes()[:INPUT_BYTES_MAX])
    return sorted({*found, *(b"\5" + page for page in _pages())})


def _pages() -> list[bytes]:
    """Pages of a small database with rows of ordinary tables and of index trees."""
    connection = apsw.Connection(":memory:")
    connection.pragma("page_size", PAGE_BYTES)
    connection.execute("CREATE TABLE e (a TEXT, b INT, c INT, d TEXT, e TEXT, f INT, g BLOB, h INT)")
    connection.execute("CREATE TABLE t (a TEXT PRIMARY KEY, b, c) WITHOUT ROWID")
    for number in range(40):
        row = ("aaaaaaaaaa", 1, number, "text", "2026-11-26T12:00:00Z", 1 << 20, bytes(number * 60), number)
        connection.execute("INSERT INTO e VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        connection.execute("INSERT INTO t VALUES (?, ?, 1.5)", (f"{number:03}" * 9, number))
    connection.execute("DELETE FROM e WHERE c % 3 = 0")
    data = connection.serialize("main")
    connection.close()
    return [data[at : at + PAGE_BYTES] for at in range(PAGE_BYTES, len(data), PAGE_BYTES)]


def damaged(data: bytes, others: Sequence[bytes], rng: Random) -> bytes:
    """`data` with one to eight things wrong."""
    broken = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        at = rng.randint(1, max(1, len(broken)))
        end = min(len(broken), at + rng.choice((1, 2, 8, 100)))
        match rng.randrange(7):
            case 0:
                broken[at:end] = rng.randbytes(end - at)
            case 1:
                del broken[at:end]
            case 2:
                broken[at:at] = rng.choice(LITTLE)
            case 3:
                broken[at:at] = broken[at:end]
            case 4:
                del broken[at:]
            case 5:
                broken += b"\n" + rng.choice(others)[1:]
            case _:
                broken[at:end] = rng.choice(others)[1:][: rng.randint(0, 200)]
    return bytes(broken[:INPUT_BYTES_MAX])


def damage_at_random(
    target: Target, inputs: Sequence[bytes], *, seconds: float, rng: Random, into: Path, runs: int = sys.maxsize
) -> int:
    """Try until the time is over, or `runs` inputs were. Returns the exit status: 1 if one was found and saved."""
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end and count < runs:
        data = damaged(rng.choice(inputs), inputs, rng)
        count += 1
        try:
            target(data)
        except Exception:  # noqa: BLE001 - the defect that is looked for, of whatever kind
            into.mkdir(parents=True, exist_ok=True)
            file = into / f"found-{hashlib.sha256(data).hexdigest()[:16]}"
            file.write_bytes(data)
            traceback.print_exc()
            print(f"found after {count} inputs, saved in {file}; again: python -m betcode.testing.fuzz --repeat {file}")
            return 1
    print(f"{count} damaged inputs, nothing found")
    return 0


def breed(inputs: Sequence[bytes], *, seconds: float, seed: int, into: Path) -> None:
    """Hand over to atheris, which ends the process."""
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["betcode"]):
        target: Target = importlib.import_module("betcode.testing.fuzz_targets").target
    corpus = into / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for data in inputs:
        (corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    options = [f"-max_total_time={seconds:.0f}", f"-max_len={INPUT_BYTES_MAX}", f"-artifact_prefix={into}/found-"]
    atheris.Setup([sys.argv[0], *options, f"-seed={seed}", str(corpus)], target)
    atheris.Fuzz()


def main(argv: Sequence[str]) -> int:
    """Returns the exit status: 0 if nothing was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0, help="another order; 0 for one by chance")
    parser.add_argument("--plain", action="store_true", help="without atheris")
    parser.add_argument("--repeat", type=Path, metavar="FILE", help="try this input and no other")
    chosen = parser.parse_args(argv)
    if chosen.repeat is None and not chosen.plain and importlib.util.find_spec("atheris") is not None:
        print("with atheris: inputs are bred by the code that they reach", flush=True)
        breed(seeds(RECORDINGS), seconds=chosen.seconds, seed=chosen.seed, into=FOUND)
    target: Target = importlib.import_module("betcode.testing.fuzz_targets").target
    if chosen.repeat is not None:
        target(chosen.repeat.read_bytes())
        print("it raises nothing")
        return 0
    seed = chosen.seed or time.time_ns() % 2**32
    print(f"without atheris: recorded inputs are damaged at random, seed {seed}", flush=True)
    return damage_at_random(target, seeds(RECORDINGS), seconds=chosen.seconds, rng=Random(seed), into=FOUND)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
