"""Lines over two logarithmic axes, in the colours of docs/eval.svg."""

import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 400, 66, 190, 44, 46
STYLE = (
    "<style>text{fill:#191814}.soft{fill:#625d52}.line{stroke:#d9d3c5}"
    "path.ours{stroke:#b8321a}path.other{stroke:#191814}path{fill:none;stroke-width:1.5}"
    "circle.ours{fill:#b8321a}circle.other{fill:#191814}"
    "@media(prefers-color-scheme:dark){text{fill:#ebe7dd}.soft{fill:#a49e92}"
    ".line{stroke:#37363a}path.ours{stroke:#ff8a6b}path.other{stroke:#ebe7dd}"
    "circle.ours{fill:#ff8a6b}circle.other{fill:#ebe7dd}}</style>"
)
DASHES = ("", "7 4", "2 4", "9 3 2 3", "1 3")


def short(value):
    """1.5 M, 20 k, 0.1."""
    for size, name in ((1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:g}{name}"
    return f"{value:g}"


def levels(low, high):
    """1, 2, 5, 10, ... from below the least to above the greatest; powers of ten alone
    where those would be many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for firsts in ((1, 2, 5), (1,)):
        all_of = [first * 10.0**power for power in powers for first in firsts]
        below = max(level for level in all_of if level <= low * 1.0001)
        above = min((level for level in all_of if level >= high), default=all_of[-1])
        marks = [level for level in all_of if below <= level <= above]
        if len(marks) <= 8:
            break
    return marks if len(marks) > 1 else [*marks, 2 * marks[0]]


def scale(marks, low_at, high_at):
    """Function to a coordinate."""
    low, high = math.log10(min(marks)), math.log10(max(marks))
    return lambda value: (
        low_at + (math.log10(value) - low) / (high - low) * (high_at - low_at)
    )


def apart(heights, least=16):
    """The same, moved down where two would overlap."""
    moved = []
    for height in sorted(heights):
        moved.append(max(height, moved[-1] + least) if moved else height)
    return dict(zip(sorted(heights), moved, strict=True))


def picture(title, x_name, series, ours, x_marks=None):
    """Lines of SVG. series: {name: [(x, y)]}; ours: names drawn in red; x_marks: where x
    is marked, from first to last, else at round values."""
    xs, ys = zip(*(point for points in series.values() for point in points), strict=True)
    x_marks, y_marks = x_marks or levels(min(xs), max(xs)), levels(min(ys), max(ys))
    x, y = scale(x_marks, LEFT, WIDTH - RIGHT), scale(y_marks, HEIGHT - BOTTOM, TOP)
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="system-ui, sans-serif" font-size="14">'
    )
    yield STYLE
    yield f"<title>{escape(title)}</title>"
    yield f'<text x="{LEFT}" y="22">{escape(title)}</text>'
    end = WIDTH - RIGHT
    for level in y_marks:
        yield f'<path class="line" d="M{LEFT} {y(level):.1f}H{end}"/>'
        yield (
            f'<text class="soft" x="{LEFT - 8}" y="{y(level) + 5:.1f}" '
            f'text-anchor="end">{short(level)}</text>'
        )
    for mark in x_marks:
        yield (
            f'<text class="soft" x="{x(mark):.1f}" y="{HEIGHT - BOTTOM + 20}" '
            f'text-anchor="middle">{short(mark)}</text>'
        )
    yield (
        f'<text class="soft" x="{end}" y="{HEIGHT - 6}" '
        f'text-anchor="end">{escape(x_name)}</text>'
    )
    ends = ((name, max(points)[1]) for name, points in series.items())
    last = {name: y(value) + n * 1e-6 for n, (name, value) in enumerate(ends)}
    names = apart(last.values())
    for n, (name, points) in enumerate(series.items()):
        who = "ours" if name in ours else "other"
        line = "L".join(f"{x(a):.1f} {y(b):.1f}" for a, b in sorted(points))
        yield f'<path class="{who}" stroke-dasharray="{DASHES[n % 5]}" d="M{line}"/>'
        for a, b in points:
            yield f'<circle class="{who}" cx="{x(a):.1f}" cy="{y(b):.1f}" r="3.5"/>'
        yield f'<text x="{end + 12}" y="{names[last[name]] + 5:.1f}">{escape(name)}</text>'
    yield "</svg>"
