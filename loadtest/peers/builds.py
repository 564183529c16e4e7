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

import dataclasses
import json
import os
import subprocess
import sys

from result import ROOT
from runner import ALLOCATORS, Failure, library
from ways import Study, against, blocks_of, carry_out, driven, flags, source, spread

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
    """What one run says."""
    load = variant.load
    shape = [f"--connections={load.connections}", f"--depth={load.depth}"]
    how = ["--threads=1", f"--work=echo:{load.echo_bytes}", f"--duration={seconds}s", "--json=-"]
    run = driven(
        f"{load.title()}, {variant.way}",
        variant.line,
        lambda port: [loadtest, "run", load.url(port), *shape, *how],
    )
    result = json.loads(run.output[run.output.index("{") :])
    return {
        "load": load.title(),
        "way": variant.way,
        "requests_per_s": result["throughput_rps"],
        "cpu_us_per_request": run.cpu_s * 1e6 / result["ok"],
        "others_cores": run.others_cores,
    }


def summary(blocks, rows, seed):
    """By load and way, with the ratio to the server as it is shipped within each round."""

    def of(load, way):
        return [b for b in blocks if (b["load"], b["way"]) == (load, way)]

    lines = []
    for variant in rows:
        load = variant.load.title()
        own, base = of(load, variant.way), of(load, AS_SHIPPED)
        figures = against(own, base, ["cpu_us_per_request", "requests_per_s"], seed)
        lines.append({"load": load, "way": variant.way, **figures})
    return lines


def table(result):
    """The Markdown of a result."""
    lines = ["| | build or allocator | CPU us | of as shipped | requests/s, of as shipped |"]
    lines.append("|:--|:--|--:|--:|--:|")
    for line in result["rows"]:
        first = line["way"] == AS_SHIPPED
        figures = ["cpu_us_per_request", "requests_per_s"]
        ratios = ["1" if first else spread(line[f"{figure}_ratio"]) for figure in figures]
        name = line["load"] if first else ""
        cpu = f"{line['cpu_us_per_request']:.2f}"
        lines.append(f"| {name} | {line['way']} | {cpu} | {' | '.join(ratios)} |")
    lines += [
        "",
        "The server's CPU (user and system) in microseconds per request; connections x requests in "
        "flight on each; one core for the server (`--workers=1`), another for the load tester. "
        f"Medians of {result['rounds']} interleaved blocks of {result['seconds']} s, a new server "
        "for each; ratios are medians over rounds, with their bootstrap interval of 95 %.",
        "",
        source(result),
    ]
    return "\n".join(lines) + "\n"


def measured(arguments):
    rows = variants(arguments.bin_dir)
    for program in {variant.program[-1] for variant in rows}:
        if not os.access(program, os.X_OK):
            raise Failure(f"no {program}: python3 loadtest/peers/builds.py --build")
    loadtest = arguments.bin_dir / "loadtest"
    blocks = blocks_of(rows, lambda row: block(row, arguments.seconds, loadtest), arguments)
    return {"rows": summary(blocks, rows, arguments.seed), "blocks": blocks}


STUDY = Study(
    schema="quintet/builds/1",
    output=ROOT / "results/builds.json",
    page=ROOT / "docs/knobs.md",
    place="builds",
    table=table,
)


def main():
    parser = flags(__doc__, rounds=8)
    parser.add_argument("--build", action="store_true", help="only build what is compared")
    if parser.parse_args().build:
        build()
    else:
        carry_out(STUDY, parser, measured)


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"builds.py: {failure}")
