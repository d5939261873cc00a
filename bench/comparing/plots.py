# SPDX-License-Identifier: MIT
"""Bars as SVG, without a library: panels side by side, one bar for each program."""

from dataclasses import dataclass
from html import escape

PANEL, LABELS, BAR, GAP, HEAD, COLUMNS = 330, 110, 17, 5, 30, 2
MARGIN, VALUE = 16, 62
COLOURS = {"tabi": "#c0392b", "floor": "#7f8c8d", "direct": "#bdc3c7", "peer": "#2e6da4"}


@dataclass
class Bar:
    label: str
    kind: str
    value: float
    least: float
    most: float


@dataclass
class Panel:
    title: str
    bars: list


def number(value):
    for limit, form in ((100, "{:,.0f}"), (10, "{:.1f}"), (1, "{:.2f}")):
        if value >= limit:
            return form.format(value)
    return f"{value:.3f}"


def _text(x, y, words, more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{escape(words)}</text>'


def _bar(bar, y, scale):
    x, middle = LABELS, y + BAR / 2
    width = max(1.0, bar.value * scale)
    yield _text(x - 6, middle + 4, bar.label, 'text-anchor="end"')
    yield f'<rect x="{x}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{COLOURS[bar.kind]}"/>'
    if bar.most > bar.least:
        left, right = x + bar.least * scale, x + bar.most * scale
        yield (
            f'<path d="M{left:.1f} {middle}H{right:.1f}M{left:.1f} {middle - 4}v8M{right:.1f} {middle - 4}v8"'
            ' stroke="#222" fill="none"/>'
        )
    yield _text(x + max(width, bar.most * scale) + 5, middle + 4, number(bar.value))


def _panel(panel, x, y):
    yield f'<g transform="translate({x},{y})">'
    yield _text(0, 16, panel.title, 'font-weight="bold"')
    scale = (PANEL - LABELS - VALUE) / max((bar.most for bar in panel.bars), default=1)
    for i, bar in enumerate(panel.bars):
        yield from _bar(bar, HEAD + i * (BAR + GAP), scale)
    yield "</g>"


def draw(title, panels):
    """The text of an SVG picture."""
    panels = [p for p in panels if p.bars]
    tall = max((len(p.bars) for p in panels), default=0) * (BAR + GAP) + HEAD + MARGIN
    rows = -(-len(panels) // COLUMNS)
    width, height = COLUMNS * (PANEL + MARGIN) + MARGIN, rows * tall + 44 + MARGIN
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        f' viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">'
    )
    yield '<rect width="100%" height="100%" fill="white"/>'
    yield _text(MARGIN, 26, title, 'font-size="16" font-weight="bold"')
    for i, panel in enumerate(panels):
        column, row = i % COLUMNS, i // COLUMNS
        yield from _panel(panel, MARGIN + column * (PANEL + MARGIN), 44 + row * tall)
    yield "</svg>"
