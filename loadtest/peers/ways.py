"""One load, and a server in several ways: interleaved blocks, each held against the first way."""

import argparse
import dataclasses
import json
import pathlib
import random
import statistics
import sys
import tempfile
import time

from result import ROOT, interval, origin, put_into
from runner import (
    OTHERS_CORES_MAX,
    REPEATS_MAX,
    Failure,
    awaited,
    cores,
    machine_busy_s,
    serving,
    spawn,
)


@dataclasses.dataclass(frozen=True)
class Study:
    """Where its result is, and the page that shows it."""

    schema: str
    output: pathlib.Path
    page: pathlib.Path
    # Between the lines of the page with this name.
    place: str
    # The Markdown of a result.
    table: object


@dataclasses.dataclass(frozen=True)
class Run:
    """What a client said, and what it cost."""

    output: str
    # The server's, user and system.
    cpu_s: float
    # What neither server nor client used of the machine.
    others_cores: float


def flags(doc, rounds):
    """The command line of a study; more may be added."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    each = f"blocks of each (default: {rounds})"
    parser.add_argument("--rounds", type=int, default=rounds, help=each)
    parser.add_argument("--seconds", type=int, default=1, help="of a block (default: 1)")
    parser.add_argument("--seed", type=int, default=1, help="decides the order (default: 1)")
    parser.add_argument("--bin-dir", type=pathlib.Path, default=ROOT / "target/release")
    parser.add_argument("--output", type=pathlib.Path, help="write the JSON there, and no page")
    parser.add_argument("--table", type=pathlib.Path, metavar="JSON", help="only print its table")
    return parser


def carry_out(study, parser, measured):
    """Does what the command line says; `measured` gives, of its arguments, what the result holds."""
    arguments = parser.parse_args()
    if arguments.rounds < 1 or arguments.seconds < 1:
        parser.error("--rounds and --seconds must be at least 1")
    if arguments.table:
        sys.stdout.write(study.table(json.loads(arguments.table.read_text())))
        return
    arguments.bin_dir = arguments.bin_dir.resolve()
    parts = {name: getattr(arguments, name) for name in ["rounds", "seconds", "seed"]}
    result = {"schema": study.schema, **origin(), **parts, **measured(arguments)}
    output = arguments.output or study.output
    output.write_text(json.dumps(result, indent=2) + "\n")
    sys.stdout.write(study.table(result))
    if not arguments.output:
        put_into(study.page, study.place, study.table(result))
    print(f"results: {output}", file=sys.stderr)


def driven(name, server_line, client_line):
    """One run of a server that is started for it; both lines are functions of its port."""
    with serving(name, server_line) as server, tempfile.TemporaryFile() as file:
        busy_before, cpu_before = machine_busy_s(), server.cpu_s()
        began = time.monotonic()
        client = spawn(client_line(server.port), cores()[1], file)
        status, usage = awaited(f"{name}: its client", client, began)
        wall_s, cpu_s = time.monotonic() - began, server.cpu_s() - cpu_before
        others_s = machine_busy_s() - busy_before - cpu_s - usage.ru_utime - usage.ru_stime
        file.seek(0)
        output = file.read().decode(errors="replace")
    if status != 0:
        raise Failure(f"{name}: the load failed ({status}): {output.strip()[-300:]}")
    return Run(output, cpu_s, max(0.0, others_s / wall_s))


def blocks_of(rows, block, arguments):
    """All blocks: every second round is the mirror of the one before, so that drift cancels."""
    order, blocks = list(rows), []
    shuffle = random.Random(arguments.seed)
    for number in range(arguments.rounds):
        if number % 2 == 0:
            shuffle.shuffle(order)
        else:
            order.reverse()
        for row in order:
            for _ in range(REPEATS_MAX + 1):
                made = block(row)
                made |= {"round": number, "noisy": made["others_cores"] > OTHERS_CORES_MAX}
                if not made["noisy"]:
                    break
            blocks.append(made)
        print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
    return blocks


def against(own, base, figures, seed):
    """Medians of blocks, and of their ratios to those of the base in the same round."""
    of_round = {block["round"]: block for block in base}
    line = {}
    for figure in figures:
        line[figure] = statistics.median(block[figure] for block in own)
        ratios = [block[figure] / of_round[block["round"]][figure] for block in own]
        line[f"{figure}_ratio"] = interval(ratios, seed)
    line["noisy_blocks"] = sum(block["noisy"] for block in own)
    return line


def spread(ratio):
    """A ratio with its interval, as a table shows it."""
    return f"{ratio['median']:.3f} ({ratio['low']:.3f}–{ratio['high']:.3f})"


def source(result, more=""):
    """The last line of a page: which machine, which code, how quiet."""
    host = result["machine"]
    return (
        f"{host['cpu_model']}, {host['cores']} cores, Linux {host['kernel']}; {result['date']}; "
        f"revision {result['revision']}; {more}seed {result['seed']}; "
        f"{sum(line['noisy_blocks'] for line in result['rows'])} noisy blocks."
    )
