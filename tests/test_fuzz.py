"""The search for a fault finds none in a quick run, and would find one."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
BROKEN = """
import sys
from benchmarks import fuzz

fuzz.TARGETS = {"broken": lambda pieces: ([], len(pieces))}
sys.exit(fuzz.main(["--seconds", "600"]))
"""


def run(*arguments):
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_quick_search_finds_nothing():
    done = run("-m", "benchmarks.fuzz", "--examples", "500", "--seed", "7")
    assert (done.returncode, done.stderr) == (0, "")
    assert "500 answers" in done.stdout


def test_a_search_ends_when_its_time_is_over():
    done = run("-m", "benchmarks.fuzz", "--seconds", "0")
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_found_is_shown_with_what_makes_it_again():
    done = run("-c", BROKEN)
    assert done.returncode == 1
    assert done.stderr.startswith("broken, --seed ")
