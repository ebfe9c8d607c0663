"""The goals of performance: each a measure, a bound, and where the measured number comes from."""

import re
from statistics import median


class Found:
    """What all parts measured: the tables that they printed, and the rounds of the parts that write them."""

    def __init__(self, parts):
        self.tables = {name: part["tables"] for name, part in parts.items()}
        self.rounds = {}
        for part in parts.values():
            for record in part["rounds"]:
                key = record["backend"], record["workload"], record["callers"], record["contender"]
                self.rounds[key] = record["rounds"]

    def contenders(self, *where):
        return [key[3] for key in self.rounds if key[:3] == where]

    def ratio(self, where, name, peer, column=0):
        """The median of the ratios of each round; column 0 is throughput, the last one client CPU."""
        own, other = self.rounds.get((*where, name)), self.rounds.get((*where, peer))
        return median(mine[column] / theirs[column] for mine, theirs in zip(own, other)) if own and other else None

    def median(self, where, name, column):
        turns = self.rounds.get((*where, name))
        return median(turn[column] for turn in turns) if turns else None

    def to_best(self, where, name, is_peer=lambda contender: True, column=0):
        """The ratio to the peer that is best: the least one of throughput, the greatest one of CPU."""
        peers = [one for one in self.contenders(*where) if one != name and is_peer(one)]
        ratios = [found for peer in peers if (found := self.ratio(where, name, peer, column)) is not None]
        return (max if column else min)(ratios, default=None)

    def cell(self, part, heading, row, column):
        """A cell of a table whose heading, row and column begin with these words."""
        for table in self.tables.get(part, []):
            at = next((at for at, name in enumerate(table["header"]) if name.startswith(column)), None)
            if table["heading"] == heading and at is not None:
                return next((cells[at] for cells in table["rows"] if cells[0].startswith(row)), None)
        return None

    def number(self, *where):
        found = re.search(r"-?\d+(\.\d+)?", self.cell(*where) or "")
        return float(found[0]) if found else None

    def in_brackets(self, *where):
        found = re.search(r"\(([\d.]+)\)", self.cell(*where) or "")
        return float(found[1]) if found else None


def counted(number, noun):
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def is_own(contender):
    return contender.lower().startswith(("yokedcache", "blocking cgo"))


def is_crate(contender):
    return contender.startswith("crate-")


def memory(found):
    for workload, name, bounds in (("get_into", "get", (1.15, 1.3)), ("set", "set", (1.6, 1.8)), ("mix", "90:10", (1.2, 1.2)), ("many", "get of 100 keys", (2, 2))):
        for threads, bound in zip((1, 2), bounds):
            measured = found.in_brackets("memory", workload, "quick_cache", f"{threads} thread")
            yield f"memory {name}, {counted(threads, 'thread')} ÷ quick_cache", ">=", bound, measured
    yield "memory, hits with scans: s3fifo − quick_cache, points", ">=", 0, found.number("memory", "Goals", "hits with scans", "measured")
    yield "memory, bytes of an entry", "<=", 210, found.number("memory", "Goals", "bytes an entry, without TTL", "measured")
    yield "memory, median hold of the sweeper, µs", "<=", 100, found.number("memory", "Goals", "sweeper", "measured")
    yield "memory, invalidation of a tag of 100k entries, µs", "<=", 10, found.number("memory", "Goals", "tag of 100k entries, not counted", "measured")


def redis(found):
    def where(workload, callers):
        return "redis", workload, callers
    for callers, bound in ((1, 0.95), (64, 2)):
        yield f"Redis GET, {counted(callers, 'caller')} ÷ hiredis", ">=", bound, found.ratio(where("get", callers), "yokedcache", "hiredis")
        yield f"Redis GET, {counted(callers, 'caller')} ÷ redis crate", ">=", 1.2, found.to_best(where("get", callers), "yokedcache", is_crate)
    for callers in (1, 64):
        yield f"Redis MGET 100, {counted(callers, 'caller')} ÷ hiredis", ">=", 1.15, found.ratio(where("mget", callers), "yokedcache", "hiredis")
        yield f"Redis MGET 100, {counted(callers, 'caller')}, CPU ÷ redis crate", "<=", 1, found.to_best(where("mget", callers), "yokedcache", is_crate, -1)
    flight = where("get-in-flight", 64)
    yield "Redis queue, 64 in flight ÷ raw socket", ">=", 0.95, found.ratio(flight, "yokedcache-queue", "raw")
    yield "Redis queue, CPU ÷ raw socket", "<=", 1.4, found.ratio(flight, "yokedcache-queue", "raw", -1)
    yield "Redis queue, CPU ÷ redis crate", "<=", 0.6, found.to_best(flight, "yokedcache-queue", is_crate, -1)


def tagged(found):
    for backend, name in (("redis", "Redis"), ("memcached", "Memcached")):
        for callers in (1, 64):
            measured = found.ratio((backend, "get", callers), "yokedcache-tags", "yokedcache")
            yield f"{name} tagged GET, {counted(callers, 'caller')} ÷ untagged", ">=", 0.6, measured


def memcached(found):
    def where(workload, callers):
        return "memcached", workload, callers
    for callers, bound in ((1, 0.95), (64, 2)):
        measured = found.to_best(where("get", callers), "yokedcache", lambda one: one.startswith("libmemcached"))
        yield f"Memcached GET, {counted(callers, 'caller')} ÷ libmemcached", ">=", bound, measured
    for callers in (1, 64):
        yield f"Memcached get of 100 keys, {counted(callers, 'caller')} ÷ libmemcached text", ">=", 1.15, found.ratio(where("mget", callers), "yokedcache", "libmemcached")
    yield "Memcached queue, 64 in flight ÷ raw socket", ">=", 0.9, found.ratio(where("get-in-flight", 64), "yokedcache-queue", "raw")


def near(found):
    for contender, name in (("redis", "Redis"), ("memcached", "Memcached")):
        for call in ("get_into", "get", "get_near"):
            measured = found.ratio(("near", f"hit {call}", 1), contender, "memory")
            yield f"near cache on {name}, time of a hit, yc_{call} ÷ memory", "<=", 1.3, measured
    for column, name, bound in ((0, "p50", 200), (1, "p99", 2000)):
        yield f"near cache, delay of a change while others set 10,000 keys a second, {name} µs", "<=", bound, found.median(("near", "delay", 10_000), "yokedcache", column)


def go(found):
    for backend, name in (("redis", "Redis"), ("memcached", "Memcached")):
        for goroutines, bound in ((1, 1), (64, 2), (1024, 2)):
            measured = found.to_best((f"go {backend}", "get", goroutines), "YokedCache", lambda one: not is_own(one))
            yield f"Go, {name} get, {counted(goroutines, 'goroutine')} ÷ best peer", ">=", bound, measured
        for goroutines in (1, 64):
            measured = found.to_best((f"go {backend}", "get-many", goroutines), "YokedCache", lambda one: not is_own(one))
            yield f"Go, {name} get of 100 keys, {counted(goroutines, 'goroutine')} ÷ best peer", ">=", 1.2, measured


def node(found):
    for workload in ("get", "set"):
        for flight, bound in ((1, 1), (64, 1.2), (1024, 2)):
            measured = found.to_best(("node redis", workload, flight), "yokedcache", lambda one: not is_own(one))
            yield f"Node, Redis {workload}, {flight:,} in flight ÷ best peer", ">=", bound, measured
    yield "Node, memory getSync ÷ lru-cache", ">=", 0.5, found.ratio(("node memory", "get", 1), "yokedcache getSync", "lru-cache")


def idle(found):
    for row, name, bound in (
        ("yc_open", "yc_open of a memory cache, µs", 50),
        ("resident memory of an idle", "resident memory of an idle program, MB", 5),
        ("resident memory of each", "resident memory of each of 1,000 caches, kB", 10),
        ("threads of each", "threads of each of 1,000 caches", 0),
    ):
        yield name, "<=", bound, found.number("idle", "Idle caches", row, "measured")


def further(found):
    """Goals that are left out where their workloads were not run."""
    for backend, name, peer in (("redis", "Redis", "hiredis"), ("memcached", "Memcached", None)):
        yield f"{name} hit of a read for loading ÷ GET", ">=", 0.91, found.ratio((backend, "hit", 1), "yokedcache-lease", "yokedcache")
        yield f"{name} counter ÷ {peer} INCRBY", ">=", 0.9, found.ratio((backend, "counter", 1), "yokedcache", peer)
        measured = found.ratio((backend, "counter-in-flight", 64), "yokedcache-queue", f"{peer}-pipeline")
        yield f"{name} counter, 64 in flight ÷ {peer} INCRBY", ">=", 0.9, measured
        for callers in (1, 64):
            measured = found.ratio((backend, "set", callers), "yokedcache-tags", "yokedcache")
            yield f"{name} tagged SET, {counted(callers, 'caller')} ÷ untagged", ">=", 0.8, measured


def judge(parts):
    """Each goal as a row: its measure, bound, measured number, and whether it is met; None where nothing was measured."""
    found, rows = Found(parts), []
    for goals in (memory, redis, tagged, memcached, near, go, node, idle, further):
        for name, sign, bound, measured in goals(found):
            met = None if measured is None else measured >= bound if sign == ">=" else measured <= bound
            if goals is not further or measured is not None:
                rows.append({"measure": name, "sign": sign, "goal": bound, "measured": measured, "met": met})
    return rows


def judge_rounds(records):
    """The measured goals of one part, from its rounds."""
    rows = judge({"": {"tables": [], "rounds": records}})
    return [row for row in rows if row["measured"] is not None]


def as_table(rows):
    """One row for each goal, in Markdown."""
    lines = ["| measure | goal | measured | |", "|---|---|---|---|"]
    for row in rows:
        measured = "not measured" if row["measured"] is None else f"{row['measured']:.2f}"
        verdict = {True: "met", False: "not met", None: ""}[row["met"]]
        lines.append(f"| {row['measure']} | {'≥' if row['sign'] == '>=' else '≤'} {row['goal']:g} | {measured} | {verdict} |")
    return "\n".join(lines)


def as_bars(rows):
    """How near each goal is: 1 is the goal, and more is better."""
    bars = []
    for row in rows:
        if row["measured"] and row["goal"]:
            share = row["measured"] / row["goal"] if row["sign"] == ">=" else row["goal"] / row["measured"]
            bars.append((row["measure"], share, row["met"]))
    return bars
