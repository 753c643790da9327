"""Dots on lines, as docs/eval.svg has them: a row a method, a dot a number of bits."""

import math
from xml.sax.saxutils import escape

# A dot's size says how many bits are left of a dimension.
RADIUS = {1: 2.8, 2: 4.6, 3: 5.6, 4: 6.5}
ROW, LEFT, RIGHT, TOP, WIDTH = 28, 250, 30, 60, 860
STYLE = (
    "<style>text{fill:#191814}.soft{fill:#625d52}.line{stroke:#d9d3c5}"
    ".ring{fill:none;stroke:#191814;stroke-width:1.5}.dot{fill:#b8321a}"
    "@media(prefers-color-scheme:dark){text{fill:#ebe7dd}.soft{fill:#a49e92}"
    ".line{stroke:#37363a}.ring{stroke:#ebe7dd}.dot{fill:#ff8a6b}}</style>"
)


def picture(what, rows, ours):
    """Lines of SVG; rows: (name, {bits: value}); `ours` are names drawn filled."""
    values = [value for _, of in rows for value in of.values()]
    high = max(10, math.ceil(max(values) * 10)) / 10
    low = min(math.floor(min(values) * 10) / 10, high - 0.1)
    bottom = TOP + ROW * len(rows) - 8

    def x(value):
        return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 42}" '
        'font-family="system-ui, sans-serif" font-size="14">'
    )
    yield STYLE
    yield f"<title>{escape(what)}</title>"
    for i, bits in enumerate(sorted({bits for _, of in rows for bits in of})):
        yield dot("ring", bits, LEFT + 90 * i + 9, 20)
        yield f'<text x="{LEFT + 90 * i + 24}" y="25">{bits} bit{"s" * (bits > 1)}</text>'
    end = WIDTH - RIGHT
    yield f'<text class="soft" x="{end}" y="25" text-anchor="end">{escape(what)}</text>'
    for tenth in range(round(low * 10), round(high * 10) + 1):
        at = x(tenth / 10)
        yield f'<path class="line" d="M{at:.1f} {TOP - 14}V{bottom}"/>'
        yield (
            f'<text class="soft" x="{at:.1f}" y="{bottom + 20}" '
            f'text-anchor="middle">{tenth / 10:.1f}</text>'
        )
    for i, (name, of) in enumerate(rows):
        y = TOP + ROW * i + 4
        yield f'<text x="{LEFT - 14}" y="{y + 5}" text-anchor="end">{escape(name)}</text>'
        for bits, value in of.items():
            yield dot("dot" if name in ours else "ring", bits, x(value), y)
    yield "</svg>"


def dot(kind, bits, x, y):
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y}" r="{RADIUS[bits]}"/>'
