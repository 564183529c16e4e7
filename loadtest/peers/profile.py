#!/usr/bin/env python3
"""Where a request's time goes in each server, sampled by perf(1).

Each server gets a core of its own, the load tester the other one; perf samples the server's CPU
clock, and each sample is put to whoever the function belongs to. The time of a request is its CPU
time by the process's own clock, from before perf began; the samples only divide it.

    cargo build --release --package loadtest --package servers
    python3 loadtest/peers/profile.py

writes results/profiles.json and the table in docs/floor.md. A sample that hits a system call on its
way back is put to what made the call. Needs Linux, and of Debian linux-perf.
"""

import argparse
import collections
import functools
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

from result import ROOT, origin, put_into
from runner import CLIENT_TIMEOUT_S, Failure, cores, serving, spawn

SCHEMA = "quintet/profiles/1"
SERVERS = {"threads": "tcp", "pool": "tcp", "tasks": "tcp", "epoll": "tcp", "grpc": "grpc"}
# Connections and depth; over gRPC the depth is one of streams.
SHAPES = {"tcp": ((50, 1), (50, 16)), "grpc": ((50, 1), (8, 16))}
# Samples per second: not a divisor of the kernel's own ticks.
FREQUENCY_HZ = 7_919
# Whose a function is, by the first pattern that its name or its file holds.
OWNERS = (
    ("system calls (libc)", r"__send|__libc_recv|asynccancel|epoll_wait|\bread$|\bwrite$|recvfrom"),
    ("copying", r"mem(move|cpy|set)"),
    ("clock", r"clock_gettime|Timespec|Instant"),
    ("allocator", r"\bmi_|_mi_|malloc|free$|^free|calloc|realloc|_int_|unlink_chunk"),
    ("HTTP/2", r"\bh2::|<h2::|hyper|tonic|http::|tower|bytes::|slab::|generated::|prost|percent"),
    ("runtime", r"tokio|mio::|crossbeam|Waker|waker|futex|Mutex|parking"),
    ("codec", r"codec::|frame::"),
    ("connection", r"connection::Connection|spare::|Tally|Stats|stats::"),
)
KERNEL, SERVER = "kernel", "server"
COLUMNS = (KERNEL, *(name for name, _ in OWNERS), SERVER)


def owner(is_kernel, symbol):
    if is_kernel:
        return KERNEL
    return next((name for name, pattern in OWNERS if re.search(pattern, symbol)), SERVER)


def load(arguments, url, connections, depth, seconds, output):
    line = [arguments.bin_dir / "loadtest", "run", url, "--connections", connections]
    line += ["--depth", depth, "--threads", 1, "--work", "echo:64"]
    line += ["--duration", f"{seconds}s", "--warmup", "0s", "--json", output.name]
    return spawn(line, cores()[1], subprocess.DEVNULL)


def answered(client, output):
    if client.wait(timeout=CLIENT_TIMEOUT_S) != 0:
        raise Failure("the load tester failed: run it by hand to see why")
    return json.loads(pathlib.Path(output.name).read_text())["ok"]


def profile(arguments, name, connections, depth):
    """The shares of one server under one load, and what a request takes of its core."""
    line = functools.partial(server_line, arguments, name)
    with serving(name, line) as server, tempfile.NamedTemporaryFile(suffix=".json") as output:
        url = f"{SERVERS[name]}://127.0.0.1:{server.port}"
        before = server.cpu_s()
        client = load(arguments, url, connections, depth, arguments.seconds, output)
        requests = answered(client, output)
        cpu_us = (server.cpu_s() - before) * 1e6 / requests
        client = load(arguments, url, connections, depth, arguments.seconds + 1, output)
        time.sleep(0.5)
        counts = sample(server.process.pid, arguments.seconds)
        answered(client, output)
    total = sum(counts.values())
    if total < 1_000:
        raise Failure(f"perf took {total} samples of {name}: may it sample here?")
    shares = {column: counts[column] / total for column in COLUMNS}
    shape = {"connections": connections, "depth": depth}
    return {"server": name, **shape, "cpu_us_per_request": cpu_us, "samples": total, "shares": shares}


def server_line(arguments, name, port):
    return [arguments.bin_dir / name, "--workers", 1, "--listen", f"127.0.0.1:{port}"]


def sample(pid, seconds):
    """How many samples were whose."""
    with tempfile.NamedTemporaryFile(suffix=".data") as data:
        record = ["perf", "record", "--output", data.name, "--event", "cpu-clock"]
        record += ["--freq", str(FREQUENCY_HZ), "--pid", str(pid), "--", "sleep", str(seconds)]
        made = subprocess.run(record, capture_output=True, text=True, check=False)
        if made.returncode != 0:
            raise Failure(f"perf record: {made.stderr.strip().splitlines()[-1]}")
        report = ["perf", "report", "--input", data.name, "--no-children", "--sort", "symbol"]
        report += ["--show-nr-samples", "--stdio", "--no-inline", "--percent-limit", "0"]
        made = subprocess.run(report, capture_output=True, text=True, check=True)
    counts = collections.Counter()
    for line in made.stdout.splitlines():
        if found := re.match(r" *[\d.]+% +(\d+) +\[(.)\] (\S+(?: \S+)*)", line):
            counts[owner(found[2] == "k", found[3])] += int(found[1])
    return counts


def table(result):
    lines = [f"| server | connections x depth | CPU us | {' | '.join(COLUMNS)} |"]
    lines.append("|:--|:--|--:|" + "--:|" * len(COLUMNS))
    for row in result["rows"]:
        shares = [f"{row['shares'][column] * 100:.0f} %" for column in COLUMNS]
        shape = f"{row['connections']} x {row['depth']}"
        cpu = f"{row['cpu_us_per_request']:.2f}"
        lines.append(f"| {row['server']} | {shape} | {cpu} | {' | '.join(shares)} |")
    of = result["machine"]
    lines.append("")
    lines.append(
        f"{of['cpu_model']}, {of['cores']} cores, Linux {of['kernel']}; {result['date'][:10]}, "
        f"revision {result['revision']}; {FREQUENCY_HZ} samples a second for "
        f"{result['seconds']} s of each."
    )
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--bin-dir", type=pathlib.Path, default=ROOT / "target" / "release")
    parser.add_argument("--json", type=pathlib.Path, default=ROOT / "results" / "profiles.json")
    parser.add_argument("--seconds", type=int, default=4, help="of each sample")
    parser.add_argument("--table", type=pathlib.Path, metavar="JSON", help="only print its table")
    arguments = parser.parse_args()
    if arguments.table:
        sys.stdout.write(table(json.loads(arguments.table.read_text())))
        return
    if shutil.which("perf") is None:
        raise Failure("perf is missing: apt install linux-perf")
    rows = []
    for name, scheme in SERVERS.items():
        for connections, depth in SHAPES[scheme]:
            print(f"{name}, {connections} x {depth}", file=sys.stderr)
            rows.append(profile(arguments, name, connections, depth))
    result = {
        "schema": SCHEMA,
        **origin(),
        "seconds": arguments.seconds,
        "rows": rows,
    }
    arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    put_into(ROOT / "docs/floor.md", "profiles", table(result))
    print(table(result))


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"profile: {failure}")
