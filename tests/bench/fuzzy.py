"""Answers each query on standard input with the seconds rapidfuzz took over a file of keys, and its scores."""

import sys
import time

from rapidfuzz import fuzz, process


def waited_for_processor():
    """Seconds that this thread could have run, and no processor was free."""
    with open("/proc/thread-self/schedstat") as file:
        return int(file.read().split()[1]) / 1e9


def answer(query, keys, threshold, limit):
    started = time.perf_counter() - waited_for_processor()
    matches = process.extract(query, keys, scorer=fuzz.partial_ratio, score_cutoff=threshold, limit=limit)
    seconds = time.perf_counter() - waited_for_processor() - started
    return " ".join([f"{seconds:.6f}"] + [f"{score:.1f}" for _, score, _ in matches])


def main():
    path, threshold, limit = sys.argv[1:]
    with open(path) as file:
        keys = file.read().splitlines()
    for line in sys.stdin:
        print(answer(line.rstrip("\n"), keys, float(threshold), int(limit)), flush=True)


main()
