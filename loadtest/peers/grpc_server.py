#!/usr/bin/env python3
"""What the gRPC server's options cost: each beside the server with all of them off.

The same h2load command, helloworld.Greeter/SayHello, drives the server as it is, with one option at
a time, and a plain tonic server (`benches/examples/plain_tonic.rs`); what counts is the server's CPU
time over the calls that were answered, and how many it answered. Blocks are interleaved, and a row
is the median, over rounds, of its ratio to the server as it is in the same round.

    cargo build --release --package servers --package benches --bins --example plain_tonic
    python3 loadtest/peers/grpc_server.py

writes results/grpc.json and the table in docs/grpc.md. Needs Linux, openssl, and of Debian
nghttp2-client, libmimalloc2.0 and libjemalloc2.
"""

import argparse
import base64
import dataclasses
import hashlib
import hmac
import json
import pathlib
import random
import re
import shutil
import statistics
import sys
import tempfile
import time

from result import ROOT, interval, origin, put_into, said
from runner import (
    ALLOCATORS,
    OTHERS_CORES_MAX,
    REPEATS_MAX,
    Failure,
    awaited,
    cores,
    library,
    machine_busy_s,
    serving,
    spawn,
)

SCHEMA = "quintet/grpc/1"
# (connections, streams on each): the shapes in which public gRPC benchmarks are commonly quoted.
SHAPES = [(50, 1), (8, 16)]
SECRET = b"a secret of the measurement alone; no server keeps it."


@dataclasses.dataclass
class Variant:
    """A server's command line, and what its client has to say to it."""

    name: str
    what: str
    line: object
    tls: bool = False
    heads: tuple = ()


def token(audience):
    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    claims = {"sub": "h2load", "aud": audience, "exp": int(time.time()) + 86_400}
    signed = part(b'{"alg":"HS256","typ":"JWT"}') + b"." + part(json.dumps(claims).encode())
    return (signed + b"." + part(hmac.digest(SECRET, signed, hashlib.sha256))).decode()


def variants(bin_dir, folder):
    """The server as it is comes first: all others are held against it."""
    secret = folder / "secret"
    secret.write_bytes(SECRET)
    bearer = ("-H", f"authorization: Bearer {token('quintet')}")

    def grpc(*flags, log="off"):
        common = ["--workers=1", f"--log={log}"]
        return lambda port: [bin_dir / "grpc", f"--listen=127.0.0.1:{port}", *common, *flags]

    off = ["--deadlines=off", "--catch-panics=off"]
    return [
        Variant("as it is", "no option is given", grpc()),
        Variant(
            "a plain tonic server",
            "tonic's own accept loop and limits",
            lambda port: [bin_dir / "examples/plain_tonic", f"--listen=127.0.0.1:{port}"],
        ),
        *(plain_tonic_with(bin_dir, allocator) for allocator in ALLOCATORS),
        Variant("without the two defaults", f"`{' '.join(off)}`", grpc(*off)),
        Variant(
            "authentication",
            "`--jwt-key` (HS256)",
            grpc(f"--jwt-key={secret}", "--jwt-audience=quintet"),
            heads=bearer,
        ),
        Variant("logging", "`--log-calls on`, to a file", grpc("--log-calls=on", log="info")),
        Variant("rate limit", "`--rate-limit`, not reached", grpc("--rate-limit=10000000")),
        Variant("metrics", "`--call-metrics on`", grpc("--call-metrics=on")),
        Variant("tracing", "`--trace-calls on`", grpc("--trace-calls=on")),
        Variant("compression", "`--compression gzip`, not asked for", grpc("--compression=gzip")),
        Variant(
            "250 streams",
            "`--max-concurrent-streams 250`",
            grpc("--max-concurrent-streams=250"),
        ),
        Variant("TLS 1.3", "`--tls-self-signed`", grpc("--tls-self-signed=on"), tls=True),
    ]


def plain_tonic_with(bin_dir, allocator):
    server = ["env", f"LD_PRELOAD={library(allocator)}", bin_dir / "examples/plain_tonic"]
    return Variant(
        f"a plain tonic server, {allocator}",
        "the allocator in place of the system's",
        lambda port: [*server, f"--listen=127.0.0.1:{port}"],
    )


def h2load(variant, port, shape, seconds, folder):
    body = folder / "request.bin"
    message = b"\x0a\x05world"
    body.write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)
    connections, streams = shape
    scheme = "https" if variant.tls else "http"
    load = ["-t", "1", "-c", connections, "-m", streams, "-D", seconds, "-d", body]
    heads = ["-H", "content-type: application/grpc", "-H", "te: trailers", *variant.heads]
    return ["h2load", *load, *heads, f"{scheme}://127.0.0.1:{port}/helloworld.Greeter/SayHello"]


def answered(output):
    found = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", output)
    others = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", output)
    # Streams that the end cut off are neither; a refusal of gRPC's is a 2xx, and has no body.
    body = re.search(r"\((\d+)\) data", output)
    if not found or not others or int(others[3]) + int(others[4]) or not body:
        raise Failure(f"h2load: {output.strip()[-300:]}")
    succeeded = int(found[1])
    if int(body[1]) < succeeded * len(b"\0\0\0\0\x0d\x0a\x0bHello world"):
        raise Failure(f"h2load: calls were answered without their reply: {output.strip()[-300:]}")
    return succeeded


def block(variant, shape, seconds, folder):
    """One run of a server that is started for it."""
    with serving(variant.name, variant.line) as server, tempfile.TemporaryFile() as file:
        others_before, cpu_before = machine_busy_s(), server.cpu_s()
        began = time.monotonic()
        client = spawn(h2load(variant, server.port, shape, seconds, folder), cores()[1], file)
        status, usage = awaited("h2load", client, began)
        wall_s, cpu_s = time.monotonic() - began, server.cpu_s() - cpu_before
        others_s = machine_busy_s() - others_before - cpu_s - usage.ru_utime - usage.ru_stime
        file.seek(0)
        output = file.read().decode(errors="replace")
    if status != 0:
        raise Failure(f"h2load failed ({status}): {output.strip()[-300:]}")
    calls = answered(output)
    return {
        "variant": variant.name,
        "shape": list(shape),
        "calls": calls,
        "calls_per_s": calls / seconds,
        "cpu_us_per_call": cpu_s * 1e6 / calls,
        "others_cores": max(0.0, others_s / wall_s),
    }


def measure(arguments, rows, folder):
    """All blocks: every second round is the mirror of the one before, so that drift cancels."""
    pairs = [(variant, shape) for variant in rows for shape in SHAPES]
    shuffle, blocks = random.Random(arguments.seed), []
    for number in range(arguments.rounds):
        if number % 2 == 0:
            shuffle.shuffle(pairs)
        else:
            pairs.reverse()
        for variant, shape in pairs:
            for _ in range(REPEATS_MAX + 1):
                made = block(variant, shape, arguments.seconds, folder)
                made |= {"round": number, "noisy": made["others_cores"] > OTHERS_CORES_MAX}
                if not made["noisy"]:
                    break
            blocks.append(made)
        print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
    return blocks


def summary(blocks, rows, seed):
    """By variant and shape, with the ratio to the first row within each round."""
    lines = []
    for variant in rows:
        for shape in SHAPES:
            of = {
                b["round"]: b
                for b in blocks
                if (b["variant"], b["shape"]) == (variant.name, list(shape))
            }
            base = {
                b["round"]: b
                for b in blocks
                if (b["variant"], b["shape"]) == (rows[0].name, list(shape))
            }
            line = {"variant": variant.name, "what": variant.what, "shape": list(shape)}
            for figure in ["cpu_us_per_call", "calls_per_s"]:
                line[figure] = statistics.median(b[figure] for b in of.values())
                ratios = [b[figure] / base[number][figure] for number, b in of.items()]
                line[f"{figure}_ratio"] = interval(ratios, seed)
            line["noisy_blocks"] = sum(b["noisy"] for b in of.values())
            lines.append(line)
    return lines


def table(result):
    """The Markdown of a result."""
    shapes = [tuple(shape) for shape in result["shapes"]]
    heads = [f"{c} x {s}: calls/s | CPU us | CPU, of as it is" for c, s in shapes]
    lines = [f"| | flag | {' | '.join(heads)} |", "|:--|:--|" + "--:|--:|--:|" * len(shapes)]
    for name in dict.fromkeys(line["variant"] for line in result["rows"]):
        own = {tuple(l["shape"]): l for l in result["rows"] if l["variant"] == name}
        cells = []
        for shape in shapes:
            line, ratio = own[shape], own[shape]["cpu_us_per_call_ratio"]
            spread = f"{ratio['median']:.3f} ({ratio['low']:.3f}–{ratio['high']:.3f})"
            of_first = "1" if name == result["rows"][0]["variant"] else spread
            cells.append(f"{line['calls_per_s']:,.0f} | {line['cpu_us_per_call']:.2f} | {of_first}")
        lines.append(f"| {name} | {own[shapes[0]]['what']} | {' | '.join(cells)} |")
    host = result["machine"]
    lines += [
        "",
        "The server's CPU (user and system) in microseconds per answered call of SayHello; "
        "connections x streams on each; one core for the server (`--workers=1`), another for "
        f"`h2load -t 1`. Medians of {result['rounds']} interleaved blocks of {result['seconds']} "
        "s, a new server for each; the ratio is the median over rounds, with its bootstrap "
        "interval of 95 %.",
        "",
        f"{host['cpu_model']}, {host['cores']} cores, Linux {host['kernel']}; {result['date']}; "
        f"revision {result['revision']}; h2load {result['h2load']}; seed {result['seed']}; "
        f"{sum(l['noisy_blocks'] for l in result['rows'])} noisy blocks.",
    ]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10, help="blocks of each (default: 10)")
    parser.add_argument("--seconds", type=int, default=1, help="of a block (default: 1)")
    parser.add_argument("--seed", type=int, default=1, help="decides the order (default: 1)")
    parser.add_argument("--only", metavar="NAMES", help="these rows, by commas, and the first")
    parser.add_argument("--bin-dir", type=pathlib.Path, default=ROOT / "target/release")
    parser.add_argument("--output", type=pathlib.Path, help="write the JSON there, and no page")
    parser.add_argument("--table", type=pathlib.Path, metavar="JSON", help="only print its table")
    arguments = parser.parse_args()
    if arguments.rounds < 1 or arguments.seconds < 1:
        parser.error("--rounds and --seconds must be at least 1")
    if arguments.table:
        sys.stdout.write(table(json.loads(arguments.table.read_text())))
        return
    if not shutil.which("h2load"):
        raise Failure("h2load is not on the PATH: apt install nghttp2-client")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        rows = variants(arguments.bin_dir.resolve(), folder)
        if arguments.only:
            wanted = arguments.only.split(",")
            if unknown := set(wanted) - {row.name for row in rows}:
                raise Failure(f"--only: no such row: {', '.join(sorted(unknown))}")
            rows = [row for row in rows if row.name in wanted or row is rows[0]]
        blocks = measure(arguments, rows, folder)
    result = {
        "schema": SCHEMA,
        **origin(),
        "h2load": said(["h2load", "--version"], r"[\d.]+\d"),
        "shapes": SHAPES,
        "rounds": arguments.rounds,
        "seconds": arguments.seconds,
        "seed": arguments.seed,
        "rows": summary(blocks, rows, arguments.seed),
        "blocks": blocks,
    }
    output = arguments.output or ROOT / "results/grpc.json"
    output.write_text(json.dumps(result, indent=2) + "\n")
    sys.stdout.write(table(result))
    if not arguments.output:
        put_into(ROOT / "docs/grpc.md", "costs", table(result))
    print(f"results: {output}", file=sys.stderr)


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"grpc_server.py: {failure}")
