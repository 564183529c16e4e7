#!/usr/bin/env python3
"""What a request costs the load generator: loadtest beside wrk, h2load and redis-benchmark.

Each client gets one thread, 50 connections and the server it is made for, all in one interleaved
run; what counts is its CPU time (user and system, getrusage) over the requests that were answered.

    cargo build --release --package loadtest --package servers
    python3 loadtest/peers/measure.py

writes results/generators.json and the table in loadtest/README.md. Needs Linux, and of Debian
wrk, nghttp2-client, redis-tools, redis-server and nginx-light.
"""

import argparse
import contextlib
import functools
import json
import pathlib
import random
import shutil
import sys
import tempfile
import time

from contenders import CLIENTS, CONNECTIONS, DEPTHS, SERVERS, Context
from report import medians, table, versions
from result import ROOT, origin, put_into
from runner import (
    OTHERS_CORES_MAX,
    PACKAGES,
    REPEATS_MAX,
    Failure,
    awaited,
    cores,
    machine_busy_s,
    serving,
    spawn,
)

SCHEMA = "quintet/generators/1"


def block(client, depth, server, context):
    """One run of one client: its CPU time over its requests, and what else the machine did."""
    line = client.line(context, server.port, depth)
    before = machine_busy_s() - server.cpu_s()
    began = time.monotonic()
    with tempfile.TemporaryFile() as file:
        process = spawn(line, cores()[1], file)
        status, usage = awaited(client.name, process, began)
        wall_s = time.monotonic() - began
        file.seek(0)
        output = file.read().decode(errors="replace")
    if status != 0:
        raise Failure(f"{client.name} failed ({status}): {output.strip()[-300:]}")
    cpu_s = usage.ru_utime + usage.ru_stime
    others_s = machine_busy_s() - server.cpu_s() - before - cpu_s
    requests = client.answered(output)
    if requests is None:
        requests = int(line[line.index("-n") + 1])
    if requests <= 0:
        raise Failure(f"{client.name} had no answer: {output.strip()[-300:]}")
    return {
        "client": client.name,
        "depth": depth,
        "requests": requests,
        "user_s": usage.ru_utime,
        "system_s": usage.ru_stime,
        "cpu_us_per_request": cpu_s * 1e6 / requests,
        "requests_per_s": requests / wall_s,
        "busy": cpu_s / wall_s,
        "others_cores": max(0.0, others_s / wall_s),
    }


def measure(arguments, context):
    """All blocks: every second round is the mirror of the one before, so that drift cancels."""
    pairs = [(client, depth) for client in CLIENTS for depth in DEPTHS]
    blocks = []
    with contextlib.ExitStack() as stack:
        servers = {
            name: stack.enter_context(serving(name, functools.partial(line, context)))
            for name, line in SERVERS.items()
        }
        redis = CLIENTS[1]
        for depth in DEPTHS:
            probe = block(redis, depth, servers[redis.server], context)
            context.redis_rps[depth] = probe["requests_per_s"]
        shuffle = random.Random(arguments.seed)
        for number in range(arguments.rounds):
            if number % 2 == 0:
                shuffle.shuffle(pairs)
            else:
                pairs.reverse()
            for client, depth in pairs:
                for _ in range(REPEATS_MAX + 1):
                    made = block(client, depth, servers[client.server], context)
                    made |= {"round": number, "noisy": made["others_cores"] > OTHERS_CORES_MAX}
                    if not made["noisy"]:
                        break
                blocks.append(made)
                print(
                    f"round {number + 1}/{arguments.rounds}: {client.name}, depth {depth}: "
                    f"{made['cpu_us_per_request']:.2f} us{', noisy' if made['noisy'] else ''}",
                    file=sys.stderr,
                )
    return blocks


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8, help="blocks of each (default: 8)")
    parser.add_argument("--seconds", type=float, default=2, help="of a block (default: 2)")
    parser.add_argument("--seed", type=int, default=1, help="decides the order (default: 1)")
    parser.add_argument("--bin-dir", type=pathlib.Path, default=ROOT / "target/release")
    parser.add_argument("--output", type=pathlib.Path, help="write the JSON there, and no README")
    parser.add_argument("--table", type=pathlib.Path, metavar="JSON", help="only print its table")
    arguments = parser.parse_args()
    if arguments.rounds < 1 or arguments.seconds < 1:
        parser.error("--rounds and --seconds must be at least 1: wrk and h2load know no less")
    if arguments.table:
        sys.stdout.write(table(json.loads(arguments.table.read_text())))
        return
    for program in ["wrk", "h2load", "redis-benchmark", "redis-server", "nginx"]:
        if not shutil.which(program):
            raise Failure(f"{program} is not on the PATH; {PACKAGES}")
    with tempfile.TemporaryDirectory() as folder:
        bin_dir = arguments.bin_dir.resolve()
        context = Context(bin_dir, pathlib.Path(folder), arguments.seconds, {})
        blocks = measure(arguments, context)
    come_from = origin()
    result = {
        "schema": SCHEMA,
        **come_from,
        "versions": versions(bin_dir, come_from["revision"]),
        "connections": CONNECTIONS,
        "rounds": arguments.rounds,
        "seconds": arguments.seconds,
        "seed": arguments.seed,
        "medians": medians(blocks),
        "blocks": blocks,
    }
    output = arguments.output or ROOT / "results/generators.json"
    output.write_text(json.dumps(result, indent=2) + "\n")
    sys.stdout.write(table(result))
    if not arguments.output:
        put_into(ROOT / "loadtest/README.md", "generators", table(result))
    print(f"results: {output}", file=sys.stderr)


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"measure.py: {failure}")
