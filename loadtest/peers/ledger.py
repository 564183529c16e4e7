#!/usr/bin/env python3
"""The servers' own counters beside what strace(1) sees them do.

Each model serves a fixed number of echoes under `strace -f -c`, and then another number of them;
what differs between the two, by the requests that differ, is what a request costs: start, connects
and end are the same in both and cancel out. The same is done with the server's own counters, which
it prints at its end. Where the two agree, the ledger of `loadtest compare` can be believed; what
only strace sees (futex, above all) is what the ledger cannot see.

    cargo build --release --package loadtest --package servers
    python3 loadtest/peers/ledger.py

writes results/ledger.json. strace slows a server down, and so says nothing of its speed; how often
a thread sleeps, and with it futex, waits and wake-ups, is that of a slow server too. Needs Linux
and, of Debian, strace.
"""

import argparse
import contextlib
import json
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from result import ROOT, origin
from runner import Failure, await_ready, cores, free_port, spawn

SCHEMA = "quintet/ledger/1"
SERVERS = {"threads": "tcp", "pool": "tcp", "tasks": "tcp", "epoll": "tcp", "grpc": "grpc"}
DEPTHS = (1, 16)
CONNECTIONS = 4
# What strace calls the kinds that a server counts.
KINDS = {
    "reads": {"read", "readv", "recvfrom", "recvmsg"},
    "writes": {"write", "writev", "sendto", "sendmsg"},
    "waits": {"epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll"},
    "registrations": {"epoll_ctl"},
    "futex": {"futex"},
}
# Wake-ups are writes to strace: an eventfd is a file.
OWN = {
    "reads": ("reads",),
    "writes": ("writes", "wakes"),
    "waits": ("waits",),
    "registrations": ("registrations",),
}
STOP_TIMEOUT_S = 30


@contextlib.contextmanager
def traced(bin_dir, name, folder):
    """A server under strace: its port, and a function that ends it and gives both counts."""
    port, counts = free_port(), folder / "counts"
    line = [bin_dir / name, f"--listen=127.0.0.1:{port}", "--workers=1", "--log=off"]
    # -D: the server is our own child, and strace its grandchild: signals reach the server.
    strace = ["strace", "-D", "-f", "-c", "-U", "name,calls", "-o", counts, *line]
    with tempfile.TemporaryFile() as output:
        process = spawn(strace, cores()[0], output)

        def ended():
            process.send_signal(signal.SIGTERM)
            process.wait(STOP_TIMEOUT_S)
            output.seek(0)
            return own_counts(name, output.read().decode()), system_calls(counts)

        try:
            await_ready(name, process, port, output)
            yield port, ended
        finally:
            process.kill()
            process.wait()


def own_counts(name, said):
    found = re.search(r"^stats (\{.*\})$", said, re.MULTILINE)
    if not found:
        raise Failure(f"{name} printed no counters: {said.strip()[-300:]}")
    return json.loads(found[1])


def system_calls(path):
    """By kind; strace writes its table when the last thread it follows has ended."""
    table = re.findall(r"^(\w+)\s+(\d+)$", awaited(path), re.MULTILINE)
    calls = {name: int(count) for name, count in table if name != "total"}
    kinds = {kind: sum(calls.pop(name, 0) for name in names) for kind, names in KINDS.items()}
    return kinds | {"other": sum(calls.values())}


def awaited(path):
    for _ in range(STOP_TIMEOUT_S * 50):
        if path.exists() and "total" in (text := path.read_text()):
            return text
        time.sleep(0.02)
    raise Failure("strace wrote no table")


def served(bin_dir, name, depth, requests):
    """Both counts of a server that answered so many requests."""
    with tempfile.TemporaryDirectory() as folder:
        with traced(bin_dir, name, pathlib.Path(folder)) as (port, ended):
            url = f"{SERVERS[name]}://127.0.0.1:{port}"
            load = ["-c", CONNECTIONS, "--depth", depth, "-t", 1, "-n", requests, "--warmup", "0s"]
            loading = [bin_dir / "loadtest", "run", url, *load, "--timeout", "30s", "--json", "-"]
            made = subprocess.run([str(word) for word in loading], capture_output=True, check=False)
            if made.returncode != 0:
                raise Failure(f"the load on {name} failed: {made.stderr.decode().strip()[-300:]}")
            return ended()


def per_request(bin_dir, name, depth, requests):
    """What a request cost, by both counts."""
    own_few, seen_few = served(bin_dir, name, depth, requests)
    own_many, seen_many = served(bin_dir, name, depth, 3 * requests)
    more = own_many["requests"] - own_few["requests"]
    own = {
        kind: sum(own_many[field] - own_few[field] for field in fields) / more
        for kind, fields in OWN.items()
    }
    seen = {kind: (seen_many[kind] - seen_few[kind]) / more for kind in seen_many}
    handoffs = (own_many["handoffs"] - own_few["handoffs"]) / more
    return {"server": name, "depth": depth, "own": own, "strace": seen, "handoffs": handoffs}


def compared(row, kind):
    """Both, and their ratio where there is something to compare."""
    own, seen = row["own"].get(kind), row["strace"][kind]
    if own is None:
        return f"{seen:.3f}"
    # Less than one call in a hundred requests is noise.
    ratio = f" {own / seen:.3f}" if max(own, seen) >= 0.01 and seen > 0 else ""
    return f"{own:.3f}/{seen:.3f}{ratio}"


def table(rows):
    kinds = list(rows[0]["strace"])
    heads = [f"{kind:>21}" for kind in kinds]
    lines = ["own/strace and their ratio, per request", f"{'server':8} depth {''.join(heads)}"]
    for row in rows:
        cells = "".join(f"{compared(row, kind):>21}" for kind in kinds)
        lines.append(f"{row['server']:8} {row['depth']:5} {cells}")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin-dir", type=pathlib.Path, default=ROOT / "target/release")
    parser.add_argument("--requests", type=int, default=2_000, help="of the shorter load")
    parser.add_argument("--servers", default=",".join(SERVERS), help="only these")
    parser.add_argument("--json", type=pathlib.Path, default=ROOT / "results/ledger.json")
    args = parser.parse_args()
    if not shutil.which("strace"):
        raise Failure("there is no strace: apt install strace")
    rows = [
        per_request(args.bin_dir, name, depth, args.requests)
        for name in args.servers.split(",")
        for depth in DEPTHS
    ]
    result = {
        "schema": SCHEMA,
        **origin(),
        "connections": CONNECTIONS,
        "requests": args.requests,
        "rows": rows,
    }
    args.json.write_text(json.dumps(result, indent=2) + "\n")
    print(table(rows), end="")


if __name__ == "__main__":
    try:
        main()
    except (Failure, subprocess.TimeoutExpired) as failure:
        sys.exit(f"ledger.py: {failure}")
