"""What every result has in common: where it is from, its intervals, and the page that shows it."""

import datetime
import os
import pathlib
import platform
import random
import re
import statistics
import subprocess

from runner import Failure

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESAMPLES = 4000


def origin():
    """Where and when, and of which code."""
    revision = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "machine": machine(),
        "revision": said(revision, r"\S+"),
    }


def machine():
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return {
        "cpu_model": cpu[1] if cpu else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
    }


def said(line, pattern):
    """What a program says of itself."""
    made = subprocess.run(line, capture_output=True, text=True, check=False)
    found = re.search(pattern, made.stdout + made.stderr)
    return found[0] if found else "unknown"


def interval(values, seed):
    """The median, and its bootstrap interval of 95 %."""
    shuffle = random.Random(seed)
    resampled = sorted(
        statistics.median(shuffle.choices(values, k=len(values))) for _ in range(RESAMPLES)
    )
    low, high = resampled[int(0.025 * RESAMPLES)], resampled[int(0.975 * RESAMPLES) - 1]
    return {"median": statistics.median(values), "low": low, "high": high}


def put_into(page, name, text):
    """In place of what stands between the two lines that bear the name."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    whole = page.read_text()
    if begin not in whole or end not in whole:
        raise Failure(f"{page} has no {begin} and {end}: the table is not put in")
    head, rest = whole.split(begin, 1)
    page.write_text(f"{head}{begin}\n\n{text}\n{end}{rest.split(end, 1)[1]}")
