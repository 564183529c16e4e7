"""What is kept of the generators' blocks: medians, versions, and the Markdown table."""

import statistics

from contenders import CLIENTS, DEPTHS
from result import said


def medians(blocks):
    """By client and depth; of quiet blocks, where there are any."""
    rows = []
    for client in CLIENTS:
        for depth in DEPTHS:
            own = [b for b in blocks if (b["client"], b["depth"]) == (client.name, depth)]
            quiet = [b for b in own if not b["noisy"]] or own
            cpu = [b["cpu_us_per_request"] for b in quiet]
            rows.append(
                {
                    "client": client.name,
                    "server": client.server,
                    "depth": depth,
                    "blocks": len(own),
                    "noisy_blocks": sum(b["noisy"] for b in own),
                    "cpu_us_per_request": statistics.median(cpu),
                    "cpu_us_per_request_min": min(cpu),
                    "cpu_us_per_request_max": max(cpu),
                    "requests_per_s": statistics.median(b["requests_per_s"] for b in quiet),
                    "busy": statistics.median(b["busy"] for b in quiet),
                    "of_loadtest": ratio(blocks, client, depth),
                }
            )
    return rows


def ratio(blocks, client, depth):
    """The median, over rounds, of this client's cost over the load tester's in the same round."""
    if client.against is None:
        return None
    by_round = {(b["client"], b["round"]): b for b in blocks if b["depth"] == depth}
    pairs = [
        (block_, by_round[client.against, number])
        for (name, number), block_ in by_round.items()
        if name == client.name
    ]
    quiet = [pair for pair in pairs if not any(b["noisy"] for b in pair)] or pairs
    return statistics.median(a["cpu_us_per_request"] / b["cpu_us_per_request"] for a, b in quiet)


def versions(bin_dir, revision):
    own = said([str(bin_dir / "loadtest"), "--version"], r"[\d.]+")
    return {
        "loadtest": f"{own} at {revision}",
        "wrk": said(["wrk", "--version"], r"wrk [^\s\[]+").removeprefix("wrk "),
        "h2load": said(["h2load", "--version"], r"[\d.]+\d"),
        "redis-benchmark": said(["redis-benchmark", "--version"], r"[\d.]+\d"),
        "nginx": said(["nginx", "-v"], r"[\d.]+\d"),
    }


def table(result):
    """The Markdown of a result."""

    def cell(row):
        spread = (row["cpu_us_per_request_max"] - row["cpu_us_per_request_min"]) / 2
        percent = 100 * spread / row["cpu_us_per_request"]
        against = f"{row['of_loadtest']:.2f}" if row["of_loadtest"] else "1"
        return f"{row['cpu_us_per_request']:.2f} | {percent:.0f} % | {against} | {row['busy']:.2f}"

    depths = sorted({row["depth"] for row in result["medians"]})
    heads = [f"depth {depth}: CPU us | ± | of loadtest | busy" for depth in depths]
    lines = [f"| client | server | {' | '.join(heads)} |", "|:--|:--|" + "--:|" * 4 * len(depths)]
    for name in dict.fromkeys(row["client"] for row in result["medians"]):
        rows = {row["depth"]: row for row in result["medians"] if row["client"] == name}
        cells = " | ".join(cell(rows[depth]) for depth in depths)
        lines.append(f"| {name} | {rows[depths[0]]['server']} | {cells} |")
    host, known = result["machine"], result["versions"]
    noisy = sum(row["noisy_blocks"] for row in result["medians"])
    blocks = sum(row["blocks"] for row in result["medians"])
    lines += [
        "",
        "The client's CPU (user and system, from its start to its end) in microseconds per "
        f"answered request; {result['connections']} connections, one thread, 64 bytes there and "
        f"back. Medians of {result['rounds']} interleaved blocks of {result['seconds']:g} s, ± "
        'half of their range; "of loadtest" is the median ratio within a round, above 1 where the '
        "other one costs more; busy is the share of a core. The client had one core, its server "
        "another.",
        "",
        f"{host['cpu_model']}, {host['cores']} cores, Linux {host['kernel']}; {result['date']}; "
        + ", ".join(f"{name} {version}" for name, version in known.items())
        + f"; seed {result['seed']}; {noisy} of {blocks} blocks noisy.",
    ]
    return "\n".join(lines) + "\n"
