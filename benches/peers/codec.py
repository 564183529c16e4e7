#!/usr/bin/env python3
"""What a message costs by our codec, beside prost, protobuf's own C++, and a copy of its bytes.

Each decodes the frame of an echo's request, or encodes its response, in a loop, in a process of its
own (benches/examples/codec_loop.rs, benches/peers/codec.cc), on one core. Blocks are interleaved; a
ratio is the median, over rounds, of a codec's time to ours in the same round.

    cargo build --release --package benches --example codec_loop
    python3 benches/peers/codec.py

writes results/codec.json and the table in benches/README.md. Needs Linux, and of Debian g++, protobuf-compiler and libprotobuf-dev.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "loadtest/peers"))

from result import interval, origin, put_into, said  # noqa: E402
from runner import (  # noqa: E402
    OTHERS_CORES_MAX,
    REPEATS_MAX,
    Failure,
    awaited,
    cores,
    machine_busy_s,
    spawn,
)

SCHEMA = "quintet/codec/1"
PACKAGES = "apt install g++ protobuf-compiler libprotobuf-dev"
PAYLOADS_BYTES = [0, 64, 1024, 64 * 1024]
COMPILER = ["g++", "-std=c++17", "-O2", "-DNDEBUG"]
# What the servers use: replies are written by prost itself.
OURS = {"decode": "quintet", "encode": "quintet, by prost"}
# Long enough that a process's start and a tick of the scheduler do not count.
BLOCK_S = 0.2
# The first try at how many calls a block has; ten times as many until it can be told.
COUNT_MIN, COUNT_FACTOR = 1_000, 10
TOLD_S = 0.01


@dataclasses.dataclass(frozen=True)
class Variant:
    """A codec, what it does, and the arguments of its program."""

    direction: str
    codec: str
    program: str
    what: str

    @property
    def key(self):
        return (self.direction, self.codec)


# Ours comes first in each direction: all others are held against it.
VARIANTS = [
    Variant("decode", OURS["decode"], "rust", "decode quintet"),
    Variant("decode", "prost", "rust", "decode prost"),
    Variant("decode", "C++, fresh message", "cpp", "decode fresh"),
    Variant("decode", "C++, re-used message", "cpp", "decode re-used"),
    Variant("decode", "C++, re-used arena", "cpp", "decode arena"),
    Variant("decode", "memcpy", "rust", "decode memcpy"),
    Variant("encode", OURS["encode"], "rust", "encode prost"),
    Variant("encode", "C++", "cpp", "encode"),
    Variant("encode", "memcpy", "rust", "encode memcpy"),
]


def built(folder):
    """The C++ program, from the contract as it is."""

    def run(line):
        try:
            made = subprocess.run([str(word) for word in line], capture_output=True, text=True)
        except OSError as error:
            raise Failure(f"cannot start {line[0]}: {error}; {PACKAGES}") from error
        if made.returncode != 0:
            raise Failure(f"{line[0]}: {made.stderr.strip()[-300:]}; {PACKAGES}")

    contract = ROOT / "common/proto"
    proto = "quintet/v1/quintet.proto"
    run(["protoc", f"--proto_path={contract}", f"--cpp_out={folder}", contract / proto])
    generated = (folder / proto).with_suffix(".pb.cc")
    source, program = ROOT / "benches/peers/codec.cc", folder / "codec"
    run([*COMPILER, "-I", folder, source, generated, "-o", program, "-lprotobuf"])
    return program


def run(programs, variant, payload_bytes, count):
    """One process: the seconds its calls took, and the frame's first bytes."""
    line = [programs[variant.program], variant.what, payload_bytes, count]
    before, began = machine_busy_s(), time.monotonic()
    with tempfile.TemporaryFile() as file:
        status, usage = awaited(variant.what, spawn(line, cores()[-1], file), began)
        wall_s = time.monotonic() - began
        file.seek(0)
        output = file.read().decode(errors="replace")
    found = re.fullmatch(r"(\d+) ([0-9a-f]+)\n", output)
    if status != 0 or not found:
        raise Failure(f"{' '.join(map(str, line))} failed ({status}): {output.strip()[-300:]}")
    others_s = machine_busy_s() - before - usage.ru_utime - usage.ru_stime
    return int(found[1]) / 1e9, found[2], max(0.0, others_s / wall_s)


def counts(programs):
    """How many calls make a block, by variant and payload; and that all make the same frame."""
    of, frames = {}, {}
    for payload_bytes in PAYLOADS_BYTES:
        for variant in VARIANTS:
            count, took_s = COUNT_MIN // COUNT_FACTOR, 0
            while took_s < TOLD_S:
                count *= COUNT_FACTOR
                took_s, frame, _ = run(programs, variant, payload_bytes, count)
            of[variant.key, payload_bytes] = max(1, round(count * BLOCK_S / took_s))
            if frames.setdefault((variant.direction, payload_bytes), frame) != frame:
                raise Failure(f"{variant.codec} has another frame for {payload_bytes} bytes")
    return of


def measure(arguments, programs):
    """All blocks: every second round is the mirror of the one before, so that drift cancels."""
    count_of = counts(programs)
    pairs = [(variant, payload) for variant in VARIANTS for payload in PAYLOADS_BYTES]
    shuffle, blocks = random.Random(arguments.seed), []
    for number in range(arguments.rounds):
        if number % 2 == 0:
            shuffle.shuffle(pairs)
        else:
            pairs.reverse()
        for variant, payload_bytes in pairs:
            count = count_of[variant.key, payload_bytes]
            for _ in range(REPEATS_MAX + 1):
                took_s, _, others = run(programs, variant, payload_bytes, count)
                if others <= OTHERS_CORES_MAX:
                    break
            blocks.append(
                {
                    "direction": variant.direction,
                    "codec": variant.codec,
                    "payload_bytes": payload_bytes,
                    "round": number,
                    "count": count,
                    "ns": took_s * 1e9 / count,
                    "others_cores": others,
                    "noisy": others > OTHERS_CORES_MAX,
                }
            )
        print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
    return blocks


def summary(blocks, seed):
    """By direction, codec and payload, with the ratio to ours within each round."""

    def by_round(direction, codec, payload_bytes):
        wanted = (direction, codec, payload_bytes)
        return {
            b["round"]: b["ns"]
            for b in blocks
            if (b["direction"], b["codec"], b["payload_bytes"]) == wanted
        }

    rows = []
    for variant in VARIANTS:
        for payload_bytes in PAYLOADS_BYTES:
            own = by_round(*variant.key, payload_bytes)
            ours = by_round(variant.direction, OURS[variant.direction], payload_bytes)
            rows.append(
                {
                    "direction": variant.direction,
                    "codec": variant.codec,
                    "payload_bytes": payload_bytes,
                    "ns": interval(list(own.values()), seed),
                    "of_ours": interval([ns / ours[number] for number, ns in own.items()], seed),
                }
            )
    return rows


def table(result):
    """The Markdown of a result."""

    def cell(row):
        ns, ratio = row["ns"], row["of_ours"]
        digits = 0 if ns["median"] >= 100 else 1
        low, high = (f"{ns[end]:,.{digits}f}" for end in ["low", "high"])
        of_ours = "1" if row["codec"] == OURS[row["direction"]] else f"{ratio['median']:.2f}"
        return f"{ns['median']:,.{digits}f} ({low}–{high}) | {of_ours}"

    payloads = result["payloads_bytes"]
    heads = " | ".join(f"{payload} B: ns | of ours" for payload in payloads)
    lines = [f"| | codec | {heads} |", "|:--|:--|" + "--:|--:|" * len(payloads)]
    for direction, codec in dict.fromkeys((r["direction"], r["codec"]) for r in result["rows"]):
        own = [r for r in result["rows"] if (r["direction"], r["codec"]) == (direction, codec)]
        cells = " | ".join(cell(row) for row in sorted(own, key=lambda r: r["payload_bytes"]))
        lines.append(f"| {direction} | {codec} | {cells} |")
    host, noisy = result["machine"], sum(block["noisy"] for block in result["blocks"])
    lines += [
        "",
        "Nanoseconds of a call on one core, by payload: `decode` is the frame of an echo's request "
        "to a message, `encode` the response that is there to a frame in a buffer that is there; "
        "`memcpy` copies the frame. Quintet and prost make a message of its own for each request, "
        "as a server does; Quintet's payload goes into a buffer that its thread has spared, and its "
        "replies are written by prost. "
        f"Medians of {result['rounds']} interleaved blocks of {result['block_s']} s with their "
        "bootstrap interval of 95 %; \"of ours\" is the median ratio within a round, above 1 "
        "where the other one costs more.",
        "",
        f"{host['cpu_model']}, {host['cores']} cores, Linux {host['kernel']}; {result['date']}; "
        f"revision {result['revision']}; "
        + ", ".join(f"{name} {version}" for name, version in result["versions"].items())
        + f"; `{' '.join(result['compiler'])}`; seed {result['seed']}; "
        f"{noisy} of {len(result['blocks'])} blocks noisy.",
    ]
    return "\n".join(lines) + "\n"


def versions():
    lock = (ROOT / "Cargo.lock").read_text()
    prost = re.search(r'name = "prost"\nversion = "([^"]+)"', lock)
    return {
        "prost": prost[1] if prost else "unknown",
        "protobuf": said(["protoc", "--version"], r"[\d.]+\d"),
        "g++": said(["g++", "-dumpfullversion"], r"[\d.]+\d"),
        "rustc": said(["rustc", "--version"], r"[\d.]+\d"),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9, help="blocks of each (default: 9)")
    parser.add_argument("--seed", type=int, default=1, help="decides the order (default: 1)")
    parser.add_argument("--bin-dir", type=pathlib.Path, default=ROOT / "target/release")
    parser.add_argument("--output", type=pathlib.Path, help="write the JSON there, and no page")
    parser.add_argument("--table", type=pathlib.Path, metavar="JSON", help="only print its table")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error("--rounds must be at least 1")
    if arguments.table:
        sys.stdout.write(table(json.loads(arguments.table.read_text())))
        return
    rust = arguments.bin_dir.resolve() / "examples/codec_loop"
    if not os.access(rust, os.X_OK):
        raise Failure(f"no {rust}: cargo build --release --package benches --example codec_loop")
    with tempfile.TemporaryDirectory() as folder:
        programs = {"rust": rust, "cpp": built(pathlib.Path(folder))}
        blocks = measure(arguments, programs)
    result = {
        "schema": SCHEMA,
        "command": f"python3 benches/peers/codec.py --rounds {arguments.rounds} "
        f"--seed {arguments.seed}",
        **origin(),
        "versions": versions(),
        "compiler": COMPILER,
        "payloads_bytes": PAYLOADS_BYTES,
        "rounds": arguments.rounds,
        "block_s": BLOCK_S,
        "seed": arguments.seed,
        "rows": summary(blocks, arguments.seed),
        "blocks": blocks,
    }
    output = arguments.output or ROOT / "results/codec.json"
    output.write_text(json.dumps(result, indent=2) + "\n")
    sys.stdout.write(table(result))
    if not arguments.output:
        put_into(ROOT / "benches/README.md", "codec", table(result))
    print(f"results: {output}", file=sys.stderr)


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"codec.py: {failure}")
