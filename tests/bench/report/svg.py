"""Draws the curves of a benchmark as SVG: panels side by side, each with a logarithmic x axis, units and a legend.

Axes and text are of a grey that is legible on white and on black; the background stays transparent.
"""

import math
from xml.sax.saxutils import escape

GREY = "#808080"
COLORS = ["#2f7ed8", "#e8702a", "#2e9e5b", "#b0519d"]
DASHES = ["", "6 3", "2 3"]
PANEL, HEIGHT, LEFT, TOP, BOTTOM, RIGHT = 320, 250, 58, 46, 46, 16


def short(number):
    """10000 as 10k, and 0.5 as 0.5."""
    for size, suffix in ((1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.3g}{suffix}"
    return f"{number:.3g}"


class Axis:
    """Places numbers between two ends, by their logarithms or as they are."""

    def __init__(self, values, start, end, logarithmic):
        self.start, self.end, self.logarithmic = start, end, logarithmic
        low, high = min(values), max(values)
        if logarithmic:
            low, high = math.log10(low), math.log10(high)
            low, high = (low, high) if high - low > 0.3 else (low - 0.2, high + 0.2)
        else:
            low, high = 0, high * 1.08 or 1
        self.low, self.high = low, high

    def at(self, value):
        value = math.log10(value) if self.logarithmic else value
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self):
        if not self.logarithmic:
            step = 10 ** math.floor(math.log10(self.high / 2))
            step = next(step * factor for factor in (1, 2, 5, 10) if self.high / (step * factor) <= 5)
            return [step * number for number in range(int(self.high / step) + 1)]
        decades = range(math.floor(self.low), math.ceil(self.high) + 1)
        range_ = self.high - self.low
        factors = (1,) if range_ > 2.6 else (1, 3) if range_ > 1.3 else (1, 2, 5)
        ticks = [10**decade * factor for decade in decades for factor in factors]
        return [tick for tick in ticks if self.low - 0.01 <= math.log10(tick) <= self.high + 0.01]


def line(x1, y1, x2, y2, opacity):
    return f'<path d="M{x1:.0f} {y1:.0f}L{x2:.0f} {y2:.0f}" stroke="{GREY}" stroke-opacity="{opacity}"/>'


def text(x, y, words, anchor="middle", fill=GREY, size=11, extra=""):
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" fill="{fill}" font-size="{size}"{extra}>{escape(words)}</text>'


def curve(points, x, y, color, dash):
    """The line through the points, and a dot on each."""
    places = [(x.at(at), y.at(value)) for at, value in points]
    path = "L".join(f"{left:.1f} {top:.1f}" for left, top in places)
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    dots = "".join(f'<circle cx="{left:.1f}" cy="{top:.1f}" r="2.2" fill="{color}"/>' for left, top in places)
    return f'<path d="M{path}" fill="none" stroke="{color}" stroke-width="1.6"{dashed}/>{dots}'


def panel(left, title, x_label, x_ticks, lines, logarithmic):
    """`lines` are (points, color, dash); a point is (x, y)."""
    xs = [point[0] for points, _, _ in lines for point in points]
    ys = [point[1] for points, _, _ in lines for point in points]
    x = Axis(xs, left + LEFT, left + PANEL - RIGHT, True)
    y = Axis(ys, HEIGHT - BOTTOM, TOP, logarithmic)
    parts = [text(left + LEFT, TOP - 10, title, "start", size=12)]
    for tick in y.ticks():
        parts.append(line(x.start, y.at(tick), x.end, y.at(tick), 0.25))
        parts.append(text(x.start - 6, y.at(tick) + 4, short(tick), "end"))
    for tick, words in x_ticks:
        parts.append(line(x.at(tick), y.start, x.at(tick), y.start + 4, 1))
        parts.append(text(x.at(tick), y.start + 17, words))
    parts.append(line(x.start, y.start, x.end, y.start, 1))
    parts.append(text((x.start + x.end) / 2, HEIGHT - 10, x_label))
    parts += [curve(points, x, y, color, dash) for points, color, dash in lines]
    return "".join(parts)


def legend(entries):
    """`entries` are (name, color, dash), in one row above the panels."""
    parts, left = [], LEFT
    for name, color, dash in entries:
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        parts.append(f'<path d="M{left} 13h24" stroke="{color}" stroke-width="2"{dashed}/>')
        parts.append(text(left + 30, 17, name, "start"))
        left += 48 + 6.2 * len(name)
    return "".join(parts)


def document(title, width, height, body):
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="sans-serif" role="img"><title>{escape(title)}</title>{body}</svg>\n'
    )


def chart(title, x_label, x_ticks, panels, entries):
    """`panels` are (title, lines, logarithmic)."""
    body = legend(entries)
    for number, (panel_title, lines, logarithmic) in enumerate(panels):
        body += panel(number * PANEL, panel_title, x_label, x_ticks, lines, logarithmic)
    return document(title, PANEL * len(panels), HEIGHT, body)


def bars(title, rows):
    """Goals as bars: each row is (name, measured divided by the goal, whether it is met); the line at 1 is the goal."""
    left, width, step, top = 330, 360, 19, 30
    most = 2.0
    body = text(left + width / most, 18, "the goal")
    for number, (name, share, met) in enumerate(rows):
        y = top + number * step
        body += text(left - 8, y + 11, name, "end")
        length = min(share, most) / most * width
        body += f'<rect x="{left}" y="{y + 2}" width="{length:.0f}" height="11" fill="{COLORS[2] if met else COLORS[1]}"/>'
        body += text(left + length + 5, y + 11, f"{share:.2f}", "start")
    height = top + len(rows) * step + 8
    body += line(left + width / most, top - 6, left + width / most, height - 6, 1)
    return document(title, left + width + 50, height, body)
