"""Measures the scaling curves, draws them as SVG, and writes them with their explanations.

tests/bench/run scaling [--quick] [--output DIR] [--redraw] [CURVE...]

DIR gets scaling.json, a picture for each curve, and scaling.md. If there is a page DIR.md with the lines that mark the
place of the curves, they are written there, and not to scaling.md. --redraw does not measure: it reads scaling.json.
"""

import argparse
import json
import signal
import sys
import textwrap
import time
from pathlib import Path
from statistics import median

import curves
import explain
import machine
import svg
from rounds import DISTURBED, replace_file

BEGIN = "<!-- scaling: the rest of this section is written by tests/bench/run scaling -->"
END = "<!-- scaling: end -->"
# Passes, slices of a point in a pass, milliseconds of a slice, and minutes in all.
FULL, QUICK = (3, 2, 500, 15), (1, 1, 200, 3)
BUSY = (
    "That is more than 10 %, so throughput and latency tell more about those programs than about the library: this text does not explain "
    "them. Client CPU is meaningful."
)
LATENCIES = (("p50", "p50"), ("p99", "p99"), ("p999", "p99.9"))


def x_ticks(curve):
    few = curve.points if curve.varies != "value" else curve.points[:-1]
    ticks = [(x, svg.short(x)) for x in few]
    return ticks + [(curve.points[-1], "1Mi")] if curve.varies == "value" else ticks


def draw(curve, lines):
    """Throughput, latency and client CPU, next to each other."""
    colors = dict(zip(lines, svg.COLORS))

    def pairs(points, key, scale=1):
        return [(point["x"], point[key] * scale) for point in points]

    rates = [(pairs(points, "rate"), colors[title], "") for title, points in lines.items()]
    times = [
        (pairs(points, key), colors[title], dash)
        for title, points in lines.items()
        for (key, _), dash in zip(LATENCIES, svg.DASHES)
    ]
    cpu = [(pairs(points, "cpu"), colors[title], "") for title, points in lines.items()]
    panels = [("operations a second", rates, True), ("latency, µs", times, True), ("client CPU of an operation, µs", cpu, True)]
    entries = [(title, color, "") for title, color in colors.items()]
    entries += [(name, svg.GREY, dash) for (_, name), dash in zip(LATENCIES, svg.DASHES)]
    last = max(point["x"] for points in lines.values() for point in points)
    ticks = [(x, words) for x, words in x_ticks(curve) if x <= last]
    return svg.chart(curve.title, curve.x_label, ticks, panels, entries)


def table(curve, lines):
    rows = [f"| {curve.x_label} | | per second | p50 µs | p99 µs | p99.9 µs | client CPU µs | server's processors |", "|---|---|---|---|---|---|---|---|"]
    for title, points in lines.items():
        for point in points:
            figures = [svg.short(point["rate"]), *(f"{point[key]:.3g}" for key in ("p50", "p99", "p999", "cpu"))]
            server = "" if title.startswith("memory") else f"{point['server']:.2f}"
            rows.append(f"| {point['x']} | {title} | {' | '.join(figures)} | {server} |")
    return "\n".join(rows)


def wrapped(text, indent=""):
    return textwrap.fill(text, 132, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def section(curve, lines, folder, level, busy):
    """A picture and the reasons for its bends."""
    reasons = "\n".join(
        wrapped(f"- **{title}.** {text}", "  ") for title, text in zip(lines, explain.explain(curve.name, lines, busy))
    )
    picture = f"![{curve.title}: throughput, latency and client CPU][{curve.name}_picture]"
    return f"{level} {curve.title}\n\n{wrapped(curve.about)}\n\n{picture}\n\n{reasons}\n\n[{curve.name}_picture]: {folder}{curve.name}.svg\n"


def disturbance(data):
    """The share of the processors that other programs had, the median of all points."""
    return median([point["others"] for lines in data["curves"].values() for points in lines.values() for point in points] or [0])


def page(data, folder, level):
    disturbed = disturbance(data)
    busy = disturbed > DISTURBED
    intro = wrapped(
        "Each point is the median of slices of time of several passes over all points. Latency is that of one call; in memory, one call in "
        "eight is timed, and a timed call includes about 30 ns of the clock. Client CPU is the time of all threads of the process. Clients "
        f"and servers share the machine. Other programs had {disturbed * 100:.0f} % of the processors, the median of all points."
        + (f" {BUSY}" if busy else "")
    )
    intro += f"\n\n{machine.as_markdown(data['description'])}\n"
    known = {curve.name: curve for curve in curves.CURVES}
    parts = [section(known[name], lines, folder, level, busy) for name, lines in data["curves"].items() if lines]
    problems = "".join(f"\nA part of the slices is missing: {problem}\n" for problem in data["problems"])
    return "\n".join([intro, *parts]) + problems


def write_figures(data, output):
    output.mkdir(parents=True, exist_ok=True)
    replace_file(output / "scaling.json", json.dumps(data, indent=1, ensure_ascii=False) + "\n")


def write(data, output):
    write_figures(data, output)
    for curve in curves.CURVES:
        if data["curves"].get(curve.name):
            (output / f"{curve.name}.svg").write_text(draw(curve, data["curves"][curve.name]))
    guide = output.with_name(output.name + ".md")
    if guide.exists() and BEGIN in guide.read_text():
        if disturbance(data) > DISTURBED:
            print(f"warning: other programs had {disturbance(data) * 100:.0f} % of the processors; measure again on a quiet machine", file=sys.stderr)
        before, rest = guide.read_text().split(BEGIN)
        guide.write_text(f"{before}{BEGIN}\n\n{page(data, output.name + '/', '###')}\n{END}{rest.split(END)[1]}")
        return guide
    known = {curve.name: curve for curve in curves.CURVES}
    tables = "\n\n".join(table(known[name], lines) for name, lines in data["curves"].items() if lines)
    (output / "scaling.md").write_text(f"# Scaling\n\n{page(data, '', '##')}\n## All figures\n\n{tables}\n")
    return output / "scaling.md"


def read_options():
    parser = argparse.ArgumentParser(prog="tests/bench/run scaling", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("curves", nargs="*", metavar="CURVE", help=", ".join(curve.name for curve in curves.CURVES))
    parser.add_argument("--quick", action="store_true", help="one short pass: at most 3 minutes")
    parser.add_argument("--output", type=Path, default=machine.ROOT / "target/bench/report", help="the folder that is written")
    parser.add_argument("--redraw", action="store_true", help="write again what was measured before")
    parser.add_argument("--program", help=argparse.SUPPRESS)
    options = parser.parse_args()
    unknown = set(options.curves) - {curve.name for curve in curves.CURVES}
    if unknown:
        parser.error(f"{unknown.pop()} is no curve")
    return options


def measure(options, previous):
    """Measures; writes the figures again and again, so that a run that is ended from outside leaves what it has."""
    passes, slices, milliseconds, minutes = QUICK if options.quick else FULL
    wanted = [curve for curve in curves.CURVES if curve.name in options.curves or not options.curves]
    if options.quick:
        for curve in wanted:
            curve.points = [x for x in curve.points if x <= 1_000_000 or curve.varies != "entries"]
    description = machine.describe()
    end = time.monotonic() + minutes * 60
    for found in curves.run(wanted, options.program, passes, slices, milliseconds, end, lambda text: print(text, file=sys.stderr, flush=True)):
        data = {"description": description, **found, "curves": {**previous["curves"], **found["curves"]}}
        write_figures(data, options.output)
    return data


def main():
    # Ended from outside, the servers end, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))
    options = read_options()
    previous = options.output / "scaling.json"
    data = json.loads(previous.read_text()) if options.redraw or (options.curves and previous.exists()) else {"curves": {}}
    if not options.redraw:
        data = measure(options, data)
    print(f"written: {write(data, options.output)}")


main()
