"""Runs all benchmarks, and writes report.md, report.json and pictures.

tests/bench/run all [--quick] [--output DIR] [PART...]

--quick takes about 6 minutes and at most 18; a full run takes about 40 minutes and at most 62. What has to be built or
installed before comes in addition, at most 20 minutes for a part. A part that fails or takes too long is reported with
its reason, and what it had measured by then is kept.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import goals
import machine
import svg

BENCH = Path(__file__).resolve().parent.parent
BUILD_MINUTES = 20
SECONDS_TO_END = 20


@dataclass
class Part:
    name: str
    title: str
    command: list
    # Builds and installs, and measures nothing or next to nothing.
    build: list
    full: list
    quick: list
    # The minutes after which it is ended: of a full run, of a quick one.
    minutes: tuple
    # The option that names the file for the rounds.
    json: str = ""


RUN = [str(BENCH / "run")]
CALLERS = ["1callers", "64callers"]
PARTS = [
    Part("memory", "Memory", RUN, ["--list"],
         "get_into set mix many full bytes hits invalidate sweeper latency 1thread 2threads --rounds 7".split(),
         "get_into set mix many full bytes hits invalidate sweeper 1thread 2threads --quick".split(), (9, 3)),
    Part("redis", "Redis", [*RUN, "redis"], ["--help"],
         ["get", "set", "mget", "get-in-flight", *CALLERS, "--rounds", "7"], ["get", "mget", "get-in-flight", *CALLERS, "--quick"],
         (9, 2), "--json"),
    Part("memcached", "Memcached", [*RUN, "memcached"], ["--help"],
         ["get", "set", "mget", "get-in-flight", *CALLERS, "--rounds", "7"], ["get", "mget", "get-in-flight", *CALLERS, "--quick"],
         (8, 2), "--json"),
    Part("near", "Near cache", [*RUN, "near"], ["--help"], ["--rounds", "7"], ["--quick"], (2, 1), "--json"),
    Part("codecs", "Protocol code", [*RUN, "codecs"], ["--build"], [], [], (1, 1)),
    Part("idle", "Idle caches", [*RUN, "idle"], [], [], [], (1, 1)),
    Part("go", "Go", [str(BENCH / "go/run")], ["-memory=false", "-only", "nothing"],
         ["-only", "get,set,get-many", "-goroutines", "1,64,1024"], ["-only", "get,get-many", "-goroutines", "1,64,1024", "-quick"],
         (9, 2), "-json"),
    Part("node", "Node", [str(BENCH / "node/run")], ["--work", "nothing", "memory"],
         ["--work", "get,set,gets,load", "--flight", "1,64,1024"], ["--work", "get,set", "--flight", "1,64,1024", "--quick"],
         (7, 2), "--json"),
    Part("scaling", "Scaling", [*RUN, "scaling"], ["--help"], [], ["--quick"], (16, 4)),
]


def end_group(process):
    """Ends a command with all that it started: politely first, so that it stops its servers."""
    for sign, seconds in ((signal.SIGTERM, SECONDS_TO_END), (signal.SIGKILL, SECONDS_TO_END)):
        try:
            os.killpg(process.pid, sign)
            process.wait(seconds)
            return
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def execute(command, minutes, place, name):
    """Runs a command for so long at most: its output, and what went wrong."""
    out, log = place / f"{name}.md", place / f"{name}.log"
    with out.open("wb") as stdout, log.open("wb") as stderr:
        process = subprocess.Popen(command, stdout=stdout, stderr=stderr, stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            status = process.wait(minutes * 60)
            problem = f"it ended with status {status}: {last_words(log)}" if status else None
        except subprocess.TimeoutExpired:
            end_group(process)
            problem = f"it was ended after {minutes} minutes"
        except BaseException:
            end_group(process)
            raise
    return out.read_text(errors="replace"), problem


def last_words(log):
    """The lines that name an error, or the last ones; not those of a Redis server."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    lines = [line for line in lines if not re.match(r"\d+:[A-Z] ", line)]
    errors = [line for line in lines if re.search(r"\b(error|Error|fatal|failed|cannot|panic)\b", line)]
    return " / ".join((errors or lines)[-3:])[-500:] or "it said nothing"


def tables_of(markdown):
    """The tables of a text, each with the heading and the line of text above it."""
    tables, heading, caption, table = [], "", "", None
    for line in markdown.splitlines():
        if not line.startswith("|"):
            table = None
            if line.startswith("#"):
                heading = caption = line.lstrip("# ")
            elif line.strip():
                caption = line.strip()
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if table is None:
            table = {"heading": heading, "caption": caption, "header": cells, "rows": []}
            tables.append(table)
        elif not all(re.fullmatch(r":?-+:?", cell) for cell in cells):
            table["rows"].append(cells)
    return tables


def read_json(path, otherwise, problems):
    """The content of a file, if there is one; one that cannot be read is a problem."""
    try:
        return json.loads(path.read_text()) if path.exists() else otherwise
    except ValueError as error:
        problems.append(f"{path.name} cannot be read: {error}")
        return otherwise


def run_part(part, quick, place, output):
    """What a part measured, as Markdown, tables and rounds, and its problems."""
    started = time.monotonic()
    # Files of an earlier run would pass for those of this one.
    earlier = [place / f"{part.name}.json", *(output / f"scaling.{kind}" for kind in ("json", "md") if part.name == "scaling")]
    for path in earlier:
        path.unlink(missing_ok=True)
    text, problems, rounds = "", [], place / f"{part.name}.json"
    if part.build:
        say(f"{part.name}: builds")
        _, problem = execute([*part.command, *part.build], BUILD_MINUTES, place, f"{part.name}-build")
        problems += [f"It cannot be built: {problem}"] if problem else []
    if not problems:
        limit = part.minutes[quick]
        say(f"{part.name}: measures, at most {limit} minutes")
        more = [part.json, str(rounds)] if part.json else ["--output", str(output)] if part.name == "scaling" else []
        text, problem = execute([*part.command, *(part.quick if quick else part.full), *more], limit, place, part.name)
        problems += [problem] if problem else []
    missing = re.findall(r"^Missing: (.*)", text, re.MULTILINE)
    records = read_json(rounds, [], problems)
    return {
        "title": part.title, "seconds": round(time.monotonic() - started), "problems": problems, "missing": missing,
        "tables": tables_of(text), "rounds": records, "markdown": text,
    }


def say(words):
    print(words, file=sys.stderr, flush=True)


def demoted(markdown):
    """The text of a part, whose headings become those of sections of the report."""
    lines = (f"#{line}" if re.match(r"#+ ", line) else line for line in markdown.splitlines() if not line.startswith("# "))
    return "\n".join(lines).strip()


def report(description, rows, parts, output):
    met = sum(row["met"] is True for row in rows)
    measured = sum(row["met"] is not None for row in rows)
    text = [f"# Benchmarks\n\n{machine.as_markdown(description)}\n", f"## Goals\n\n{met} of {measured} measured goals are met.\n"]
    if goals.as_bars(rows):
        text.append("![Goals: measured, divided by the goal](goals.svg)\n")
    text.append(goals.as_table(rows) + "\n")
    missing = [f"- {part['title']}: {reason}" for part in parts.values() for reason in part["missing"] + part["problems"]]
    text.append("## Missing\n\n" + ("\n".join(missing) or "Nothing is missing.") + "\n")
    for name, part in parts.items():
        scaling = output / "scaling.md"
        body = scaling.read_text() if name == "scaling" and scaling.exists() and not part["problems"] else part["markdown"]
        text.append(f"## {part['title']}\n\n{demoted(body)}\n")
    (output / "report.md").write_text("\n".join(text))


def write(description, parts, output):
    rows = goals.judge(parts)
    if goals.as_bars(rows):
        (output / "goals.svg").write_text(svg.bars("Goals: measured, divided by the goal", goals.as_bars(rows)))
    data = {"description": description, "goals": rows, "parts": parts}
    if "scaling" in parts:
        data["scaling"] = read_json(output / "scaling.json", {}, parts["scaling"]["problems"])
    (output / "report.json").write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    report(description, rows, parts, output)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))
    parser = argparse.ArgumentParser(prog="tests/bench/run all", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(part.name for part in PARTS))
    parser.add_argument("--quick", action="store_true", help="short rounds: to see that it works")
    parser.add_argument("--output", type=Path, default=machine.ROOT / "target/bench/report", help="the folder of the report")
    options = parser.parse_args()
    known = {part.name for part in PARTS}
    if set(options.parts) - known:
        parser.error(f"{(set(options.parts) - known).pop()} is no part")
    output = options.output.resolve()
    place = output / "parts"
    place.mkdir(parents=True, exist_ok=True)
    description, parts = machine.describe(), {}
    description["run"] = "quick: its figures mean little" if options.quick else "full"
    for part in PARTS:
        if part.name in options.parts or not options.parts:
            parts[part.name] = run_part(part, options.quick, place, output)
            # After each part, so that a run that is ended leaves a report.
            write(description, parts, output)
    print(output / "report.md")


main()
