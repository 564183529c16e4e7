#!/usr/bin/env python3
"""What the build and the allocator change: the same servers, built or started in other ways.

A server of each build answers the same load in interleaved blocks, on a core of its own; a figure is
the median, over rounds, of its ratio to the server as it is shipped in the same round.

    cargo build --release --package servers --package loadtest
    python3 loadtest/peers/builds.py --build
    python3 loadtest/peers/builds.py

The first line builds the others under target/builds/, which takes some minutes each; the second
writes results/builds.json and the table in docs/knobs.md. Needs Linux, and of Debian libmimalloc2.0
and libjemalloc2.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

from result import ROOT, interval, origin, put_into
from runner import (
    ALLOCATORS,
    CLIENT_TIMEOUT_S,
    OTHERS_CORES_MAX,
    REPEATS_MAX,
    Failure,
    cores,
    library,
    machine_busy_s,
    serving,
    spawn,
)

SCHEMA = "quintet/builds/1"
AS_SHIPPED = "as shipped"
SERVERS = ["epoll", "tasks", "grpc"]
# What cargo is told in place of what the workspace's Cargo.toml says of the release profile.
BUILDS = {
    "thin": ("`lto = \"thin\"`", {"CARGO_PROFILE_RELEASE_LTO": "thin"}),
    "default": (
        "cargo's own: `lto = false`, 16 units",
        {"CARGO_PROFILE_RELEASE_LTO": "false", "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16"},
    ),
}


@dataclasses.dataclass(frozen=True)
class Load:
    """What is asked of a server."""

    server: str
    connections: int
    depth: int
    echo_bytes: int

    def title(self):
        shape = f"{self.connections} x {self.depth}"
        return f"{self.server}, echo:{self.echo_bytes}, {shape}"

    def url(self, port):
        return f"{'grpc' if self.server == 'grpc' else 'tcp'}://127.0.0.1:{port}"


BUILD_LOADS = [
    Load("epoll", 50, 1, 64),
    Load("epoll", 50, 16, 64),
    Load("tasks", 50, 16, 64),
    Load("grpc", 50, 1, 64),
    Load("grpc", 8, 16, 64),
]
# An echo of 64 bytes asks no allocator; one of 16 KiB has buffers that are too large to be spared.
ALLOCATOR_LOADS = [Load("epoll", 50, 16, 64), Load("epoll", 50, 1, 16_384), Load("tasks", 50, 1, 16_384)]


@dataclasses.dataclass(frozen=True)
class Variant:
    """A load, and how its server is built or started."""

    load: Load
    way: str
    program: tuple

    def line(self, port):
        return [*self.program, "--workers=1", "--log=off", f"--listen=127.0.0.1:{port}"]


def variants(bin_dir):
    """Of each load the server as it is shipped, and the others."""
    made = []
    for load in dict.fromkeys(BUILD_LOADS + ALLOCATOR_LOADS):
        own = bin_dir / load.server
        made.append(Variant(load, AS_SHIPPED, (own,)))
        if load in BUILD_LOADS:
            for folder, (way, _) in BUILDS.items():
                made.append(Variant(load, way, (built(folder) / load.server,)))
        if load in ALLOCATOR_LOADS:
            for allocator in ALLOCATORS:
                preload = f"LD_PRELOAD={library(allocator)}"
                made.append(Variant(load, allocator, ("env", preload, own)))
    return made


def built(folder):
    return ROOT / "target/builds" / folder / "release"


def build():
    for folder, (_, settings) in BUILDS.items():
        target = ["--target-dir", str(ROOT / "target/builds" / folder)]
        line = ["cargo", "build", "--release", "--package", "servers", *target]
        line += [f"--bin={server}" for server in SERVERS]
        made = subprocess.run(line, cwd=ROOT, env=os.environ | settings, check=False)
        if made.returncode != 0:
            raise Failure(f"{' '.join(line)} failed ({made.returncode})")


def block(variant, seconds, loadtest):
    """One run of a server that is started for it."""
    load = variant.load
    flags = ["--threads=1", f"--connections={load.connections}", f"--depth={load.depth}"]
    flags += [f"--work=echo:{load.echo_bytes}", f"--duration={seconds}s", "--json=-"]
    with serving(variant.load.title(), variant.line) as server, tempfile.TemporaryFile() as file:
        others_before, cpu_before = machine_busy_s(), server.cpu_s()
        began = time.monotonic()
        client = spawn([loadtest, "run", load.url(server.port), *flags], cores()[1], file)
        status = client.wait(CLIENT_TIMEOUT_S)
        wall_s, cpu_s = time.monotonic() - began, server.cpu_s() - cpu_before
        others_s = machine_busy_s() - others_before - cpu_s
        file.seek(0)
        output = file.read().decode(errors="replace")
    if status != 0:
        raise Failure(f"{load.title()}, {variant.way}: the load failed: {output.strip()[-300:]}")
    result = json.loads(output[output.index("{") :])
    client_s = result["client"]["cpu_us_per_request"] * result["ok"] / 1e6
    return {
        "load": load.title(),
        "way": variant.way,
        "requests_per_s": result["throughput_rps"],
        "cpu_us_per_request": cpu_s * 1e6 / result["ok"],
        "others_cores": max(0.0, (others_s - client_s) / wall_s),
    }


def measure(arguments, rows):
    """All blocks: every second round is the mirror of the one before, so that drift cancels."""
    order, blocks = list(rows), []
    shuffle = random.Random(arguments.seed)
    for number in range(arguments.rounds):
        if number % 2 == 0:
            shuffle.shuffle(order)
        else:
            order.reverse()
        for variant in order:
            for _ in range(REPEATS_MAX + 1):
                made = block(variant, arguments.seconds, arguments.bin_dir.resolve() / "loadtest")
                made |= {"round": number, "noisy": made["others_cores"] > OTHERS_CORES_MAX}
                if not made["noisy"]:
                    break
            blocks.append(made)
        print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
    return blocks


def summary(blocks, rows, seed):
    """By load and way, with the ratio to the server as it is shipped within each round."""

    def by_round(load, way):
        return {b["round"]: b for b in blocks if (b["load"], b["way"]) == (load, way)}

    lines = []
    for variant in rows:
        load = variant.load.title()
        own, base = by_round(load, variant.way), by_round(load, AS_SHIPPED)
        line = {"load": load, "way": variant.way}
        for figure in ["cpu_us_per_request", "requests_per_s"]:
            line[figure] = statistics.median(b[figure] for b in own.values())
            ratios = [b[figure] / base[number][figure] for number, b in own.items()]
            line[f"{figure}_ratio"] = interval(ratios, seed)
        line["noisy_blocks"] = sum(b["noisy"] for b in own.values())
        lines.append(line)
    return lines


def table(result):
    """The Markdown of a result."""

    def ratio(line, figure):
        of = line[f"{figure}_ratio"]
        return f"{of['median']:.3f} ({of['low']:.3f}–{of['high']:.3f})"

    lines = ["| | build or allocator | CPU us | of as shipped | requests/s, of as shipped |"]
    lines.append("|:--|:--|--:|--:|--:|")
    for line in result["rows"]:
        first = line["way"] == AS_SHIPPED
        ratios = ["1", "1"] if first else [
            ratio(line, "cpu_us_per_request"),
            ratio(line, "requests_per_s"),
        ]
        name = line["load"] if first else ""
        cpu = f"{line['cpu_us_per_request']:.2f}"
        lines.append(f"| {name} | {line['way']} | {cpu} | {' | '.join(ratios)} |")
    host = result["machine"]
    lines += [
        "",
        "The server's CPU (user and system) in microseconds per request; connections x requests in "
        "flight on each; one core for the server (`--workers=1`), another for the load tester. "
        f"Medians of {result['rounds']} interleaved blocks of {result['seconds']} s, a new server "
        "for each; ratios are medians over rounds, with their bootstrap interval of 95 %.",
        "",
        f"{host['cpu_model']}, {host['cores']} cores, Linux {host['kernel']}; {result['date']}; "
        f"revision {result['revision']}; seed {result['seed']}; "
        f"{sum(line['noisy_blocks'] for line in result['rows'])} noisy blocks.",
    ]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", action="store_true", help="only build what is compared")
    parser.add_argument("--rounds", type=int, default=8, help="blocks of each (default: 8)")
    parser.add_argument("--seconds", type=int, default=1, help="of a block (default: 1)")
    parser.add_argument("--seed", type=int, default=1, help="decides the order (default: 1)")
    parser.add_argument("--bin-dir", type=pathlib.Path, default=ROOT / "target/release")
    parser.add_argument("--output", type=pathlib.Path, help="write the JSON there, and no page")
    parser.add_argument("--table", type=pathlib.Path, metavar="JSON", help="only print its table")
    arguments = parser.parse_args()
    if arguments.rounds < 1 or arguments.seconds < 1:
        parser.error("--rounds and --seconds must be at least 1")
    if arguments.table:
        sys.stdout.write(table(json.loads(arguments.table.read_text())))
        return
    if arguments.build:
        build()
        return
    rows = variants(arguments.bin_dir.resolve())
    for program in {variant.program[-1] for variant in rows}:
        if not os.access(program, os.X_OK):
            raise Failure(f"no {program}: python3 loadtest/peers/builds.py --build")
    blocks = measure(arguments, rows)
    result = {
        "schema": SCHEMA,
        **origin(),
        "rounds": arguments.rounds,
        "seconds": arguments.seconds,
        "seed": arguments.seed,
        "rows": summary(blocks, rows, arguments.seed),
        "blocks": blocks,
    }
    output = arguments.output or ROOT / "results/builds.json"
    output.write_text(json.dumps(result, indent=2) + "\n")
    sys.stdout.write(table(result))
    if not arguments.output:
        put_into(ROOT / "docs/knobs.md", "builds", table(result))
    print(f"results: {output}", file=sys.stderr)


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"builds.py: {failure}")
