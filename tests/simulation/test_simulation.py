"""The simulator finds nothing in the product, finds every planted bug, and replays each run exactly."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from betcode.testing.simulate import PLANT_SEEDS, main, run_chunk
from betcode.testing.simulator.planted import PLANTS, planted
from betcode.testing.simulator.run import run_seed

CHUNK = 100
CHUNKS = 8
"""In all 800 seeds: 60 to 100 ms each, so half a minute of two cores. `make sim` runs more."""
FAULTLESS_SEED = 0
FOUND_BY = {"rerun-without-proof": 897, "tool-turn-repeated": 417}
"""Seeds that find those bugs which take hundreds of others; where one no longer does, all are tried."""


@pytest.mark.req("INV-1", "INV-2", "INV-4", "INV-5", "INV-7")
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_no_mixture_of_faults_breaks_an_invariant(chunk: int) -> None:
    seeds = range(chunk * CHUNK, (chunk + 1) * CHUNK)
    broken = [f"make sim SEED={o.seed}  # {o.message}" for o in run_chunk(seeds) if o.failed]
    assert not broken, "\n".join(broken)


@pytest.mark.req("INV-1", "INV-2", "INV-4", "INV-5", "INV-7", "RL-4", "RL-5")
@pytest.mark.parametrize("name", PLANTS)
def test_each_planted_bug_is_found_and_named_after_the_invariant_it_breaks(name: str) -> None:
    for seed in (FOUND_BY.get(name, 0), *range(PLANT_SEEDS)):
        (outcome,) = run_chunk([seed], name)
        if outcome.invariant == PLANTS[name].breaks:
            return
    pytest.fail(f"{name} was not found in {PLANT_SEEDS} seeds")


def test_a_planted_bug_is_gone_when_its_run_is_over() -> None:
    name = "shown-before-stored"
    with planted(name):
        assert run_seed(FAULTLESS_SEED).failed
    assert not run_seed(FAULTLESS_SEED).failed


def _replay(hash_seed: str, *arguments: str) -> str:
    command = [sys.executable, "-m", "betcode.testing.simulate", *arguments]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert not done.stderr
    return done.stdout


@pytest.mark.parametrize("arguments", [("--seed", "3"), ("--seed", "42"), ("--seed", "3", "--plant", "cursor-ignored")])
def test_a_seed_gives_the_same_trace_in_every_process(arguments: tuple[str, ...]) -> None:
    first, *others = (_replay(hash_seed, *arguments) for hash_seed in ("0", "1", "4711"))
    assert first.count("\n") > 20
    assert others == [first, first]


def test_a_seed_does_not_depend_on_the_seeds_before_it() -> None:
    alone = [run_seed(seed).checksum for seed in (9, 8, 7)]
    assert [outcome.checksum for outcome in run_chunk(range(7, 10))] == alone[::-1]


def test_a_run_that_breaks_an_invariant_says_how_to_repeat_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "5", "--workers", "1", "--plant", "shown-before-stored"]) == 0  # found, as it should be
    said = capsys.readouterr().out
    assert "seed 0 INV-2:" in said
    assert "make sim SEED=0 PLANT=shown-before-stored" in said
    assert main(["--seed", "0", "--plant", "shown-before-stored"]) == 1
    assert "VIOLATION INV-2" in capsys.readouterr().out


def test_seeds_run_in_several_processes_and_are_reported_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "45", "--workers", "2"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("45 seeds in ")


def test_a_planted_bug_counts_as_found_only_when_its_own_invariant_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "shown-before-stored"
    arguments = ["--plant", name, "--workers", "1", "--seeds", "2"]
    assert main(arguments) == 0
    assert "was found: it breaks INV-2." in capsys.readouterr().out
    monkeypatch.setitem(PLANTS, name, replace(PLANTS[name], breaks="INV-7"))
    assert main(arguments) == 1
    assert "nothing broke INV-7" in capsys.readouterr().err


@pytest.mark.parametrize("seeds", ["0", "-3", "many"])
def test_a_number_of_seeds_below_one_is_bad_usage(seeds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--seeds", seeds])
    assert ended.value.code == 2
    assert f"{seeds!r} is not a number from 1 on" in capsys.readouterr().err


def test_the_seed_of_the_manual_finds_the_bug_that_it_is_shown_with() -> None:
    manual = (Path(__file__).parents[2] / "docs/simulator.md").read_text()
    ((seed, name),) = re.findall(r"make sim SEED=(\d+) PLANT=(\S+)", manual)
    (outcome,) = run_chunk([int(seed)], name)
    assert outcome.invariant == PLANTS[name].breaks


def test_an_unknown_planted_bug_is_refused_and_the_known_ones_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--plant", "nonsense"]) == 2
    assert "make sim PLANT=list" in capsys.readouterr().err
    assert main(["--plant", "list"]) == 0
    listed = capsys.readouterr().out
    assert all(plant.name in listed and plant.sentence in listed for plant in PLANTS.values())


@pytest.mark.req("INV-1", "INV-2", "INV-5")
@pytest.mark.parametrize("seed", [2, 18, 19, 681, 1662, 8142, 10453, 50524, 50950])
def test_what_was_found_once_is_not_found_again(seed: int) -> None:
    """A late keeper of an older run, a frame of an older transcript, output that came out of order, and what
    test_doubtful_commits is about.
    """
    outcome = run_seed(seed)
    assert not outcome.failed, outcome.message
