"""Explains where the curves bend, from what was measured with them."""

import math
import os
from pathlib import Path


class Timed(str):
    """A sentence about throughput or latency: it is left out if other programs had the processors, which explain both then."""


def caches():
    """The sizes in bytes of the processor's caches for data, by level."""
    sizes = {}
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        kind, size = ((index / name).read_text().strip() for name in ("type", "size"))
        if kind != "Instruction":
            sizes[int((index / "level").read_text())] = int(size.rstrip("K")) * 1024
    return sizes


def at(points, x):
    return min(points, key=lambda point: abs(math.log(point["x"] / x)))


def ends(points):
    return points[0], points[-1]


def bend(points, key="rate"):
    """The inner point at which the slope of the curve, both axes logarithmic, changes most."""
    def slope(one, other):
        return math.log(other[key] / one[key]) / math.log(other["x"] / one["x"])
    if len(points) < 3:
        return None
    changes = [(abs(slope(b, c) - slope(a, b)), b) for a, b, c in zip(points, points[1:], points[2:])]
    change, point = max(changes, key=lambda pair: pair[0])
    return point if change > 0.15 else None


def rate(point):
    value = point["rate"]
    return f"{value / 1e6:.3g} M/s" if value >= 1e6 else f"{value / 1e3:.3g} k/s"


def micros(value):
    return f"{value * 1e3:.0f} ns" if value < 1 else f"{value:.3g} µs" if value < 1e3 else f"{value / 1e3:.3g} ms"


def size(number):
    for unit, length in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if number >= length:
            return f"{number / length:.3g} {unit}"
    return f"{number} bytes"


def bends_at(points, unit):
    point = bend(points)
    return Timed(f"The curve bends most at {point['x']:,} {unit}." if point else "The curve has no clear bend.")


def change(one, other, key, show=micros):
    """How a figure of the first point became that of the other."""
    before, after = one[key], other[key]
    if abs(after - before) < 0.1 * before:
        return f"stays at about {show(after)}"
    return f"{'falls' if after < before else 'rises'} from {show(before)} to {show(after)}"


def client(point):
    """The processors that the client uses."""
    return point["rate"] * point["cpu"] / 1e6


def limit(point):
    """What is used up at a point."""
    cores, used = os.cpu_count(), point["server"] + client(point)
    text = f"the server uses {point['server']:.2f} processors and the client {client(point):.2f}, together {used:.2f} of {cores}"
    return text + (": the machine is the limit" if used > 0.85 * cores else "")


def threads(lines):
    cores = os.cpu_count()
    for title, points in lines.items():
        one, last, few = points[0], points[-1], at(points, cores)
        if title.startswith("memory"):
            yield [bends_at(points, "threads"), *threads_on_memory(one, few, last, cores)]
        else:
            yield [bends_at(points, "threads"), *threads_on_a_server(points, one, last)]


def threads_on_memory(one, few, last, cores):
    yield Timed(
        f"A get in memory only computes, so more than {cores} threads on {cores} processors add nothing: {rate(one)} with one thread, "
        f"{rate(few)} with {few['x']}, {rate(last)} with {last['x']}."
    )
    yield f"With {last['x']} threads instead of {few['x']}, client CPU of a get {change(few, last, 'cpu')}."
    yield Timed(f"p50 {change(few, last, 'p50')}, since a thread that has a processor runs as before.")
    yield Timed(
        f"p99.9 {change(few, last, 'p999')}: a thread that is preempted during a get waits for the time slices of the others "
        f"({few['preemptions'] * 1e6:.0f} preemptions in a million gets with {few['x']} threads, {last['preemptions'] * 1e6:.0f} with {last['x']})."
    )
    if last["rate"] > 1.1 * few["rate"]:
        yield Timed(
            f"That many threads also get a larger share of the processors from other programs, which had {few['others'] * 100:.0f} % with "
            f"{few['x']} threads and {last['others'] * 100:.0f} % with {last['x']}."
        )


def threads_on_a_server(points, one, last):
    best = max(points, key=lambda point: point["rate"])
    yield Timed(
        f"One thread waits for each round trip ({micros(one['p50'])}). {best['x']} threads have the highest throughput ({rate(best)}; "
        f"{rate(one)} with one thread). There {limit(best)}."
    )
    if last["cpu"] < one["cpu"]:
        why = "callers share packets and system calls"
    else:
        why = "the threads pay for hand-overs what they save by shared packets"
    yield (
        f"Client CPU of a get {change(one, last, 'cpu')} with {last['x']} threads: {why} ({one['waits']:.2f} waits of a thread in a get with "
        f"one thread, {last['waits']:.2f} with {last['x']})."
    )
    yield Timed(f"p50 {change(one, last, 'p50')} with {last['x']} threads: a call waits for those that came before it.")


def values(lines):
    cache = caches()
    for title, points in lines.items():
        small, large, before = points[0], points[-1], points[-2]
        moved = large["rate"] * large["x"] / 1e9
        growth = f"From {before['x']:,} to {large['x']:,} bytes client CPU {change(before, large, 'cpu')}."
        if title.startswith("memory"):
            yield [
                bends_at(points, "bytes"),
                f"A small value costs what finding the entry costs ({micros(small['cpu'])} of client CPU). For large ones the copy dominates.",
                growth,
                Timed(f"p50 {change(before, large, 'p50')}, and {moved:.1f} GB/s are copied."),
                f"All entries take 64 MiB, more than the L2 cache ({size(cache.get(2, 0))}) and the L3 cache ({size(cache.get(3, 0))}), so the copy "
                "waits for the memory.",
            ]
        else:
            yield [
                bends_at(points, "bytes"),
                f"A small value costs a round trip and the handling of its packets ({micros(small['cpu'])} of client CPU). For large ones the bytes "
                "dominate: the kernel copies them on both sides, and the library to the caller.",
                growth,
                Timed(f"At {size(large['x'])} the loopback carries {moved:.2f} GB/s; {limit(large)}."),
            ]


def place_of(length):
    """The smallest cache that holds so many bytes."""
    level = next((level for level, held in sorted(caches().items()) if held >= length), None)
    return f"fit into the L{level} cache" if level else "exceed all caches"


def entries(lines):
    for points in lines.values():
        few, most = ends(points)
        each = most["entry_bytes"]
        sizes = "; ".join(f"{point['x']:,} take {size(point['x'] * each)} and {place_of(point['x'] * each)}" for point in points)
        yield [
            bends_at(points, "entries"),
            f"With {most['x']:,} entries instead of {few['x']:,}, client CPU of a call {change(few, most, 'cpu')}.",
            Timed(f"p50 {change(few, most, 'p50')}."),
            f"The instructions are the same, but the processor's caches hold fewer and fewer of the entries, of {each:.0f} bytes each: {sizes}. What "
            "exceeds them waits for the memory, at first for a part of the entries, in the end for each step from the index to the entry, and for "
            "the tables of pages.",
        ]


def tags(lines):
    for title, points in lines.items():
        few, most = ends(points)
        each = (most["cpu"] - few["cpu"]) / (most["x"] - few["x"])
        yield [
            bends_at(points, "tags"),
            f"Client CPU of a call {change(few, most, 'cpu')} from one tag to {most['x']}, by {micros(max(each, 0))} for each further tag.",
            *cost_of_tags(title, most),
        ]


def cost_of_tags(title, most):
    if title == "memory get":
        yield "A get compares the generation of each tag with that of the time of the set. A few tags disappear next to the cost of the get itself."
    elif title == "memory set":
        yield "A set looks up each tag by its name, which costs more than the comparison of a get."
    else:
        yield (
            "A get asks for the versions of the tags together with the entry. Each tag adds a name to the request, a version to the reply, and work "
            "on the server. A few tags disappear next to the cost of the round trip."
        )
        yield Timed(f"With {most['x']} tags {limit(most)}.")


def nodes(lines):
    cores = os.cpu_count()
    for title, points in lines.items():
        one, most = ends(points)
        if "100 keys" in title:
            why = (
                f"The keys of a call are spread over all nodes: a call is one request with one node and up to {most['x']} with {most['x']}, each with "
                "packets of its own, and it waits for the slowest."
            )
        else:
            why = "More nodes split the callers into smaller groups, which share fewer packets."
        yield [
            bends_at(points, "nodes"),
            why,
            f"Client CPU of a call {change(one, most, 'cpu')}, and the number of waits in a call {change(one, most, 'waits', '{:.2f}'.format)}. All "
            f"nodes share {cores} processors, so here they add no capacity.",
            Timed(f"With {most['x']} nodes {limit(most)}."),
        ]


def pools(lines):
    for points in lines.values():
        one, most = ends(points)
        best = max(points, key=lambda point: point["rate"])
        yield [
            bends_at(points, "connections"),
            Timed(f"The highest throughput has a pool of {best['x']} ({rate(best)}; {rate(one)} with 1, {rate(most)} with {most['x']})."),
            "Callers of one connection share packets and system calls; those of different connections share none. Client CPU of a get "
            f"{change(one, most, 'cpu')}, and the number of waits in a get {change(one, most, 'waits', '{:.2f}'.format)}.",
            Timed(f"With {most['x']} connections {limit(most)}."),
        ]


EXPLANATIONS = {"threads": threads, "values": values, "entries": entries, "tags": tags, "nodes": nodes, "pools": pools}


def explain(name, lines, busy):
    """One paragraph for each line of a curve; only about what a busy machine does not change, if it was busy."""
    return [paragraph(name, title, points, busy) for title, points in lines.items()]


def paragraph(name, title, points, busy):
    if len(points) < 2:
        return "Too few points were measured."
    sentences = next(EXPLANATIONS[name]({title: points}))
    return " ".join(sentence for sentence in sentences if not (busy and isinstance(sentence, Timed)))
