"""The parts of a page that is one file: nothing is fetched, no library is needed."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import NamedTuple

_CSS = """
:root { --ink: #111827; --soft: #4b5563; --line: #e5e7eb; --tint: #f9fafb; --accent: #0072b2; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: white; font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto,
  "DejaVu Sans", sans-serif; }
header, main, footer { max-width: 1160px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 36px; }
h1 { font-size: 27px; line-height: 1.2; margin: 0 0 6px; }
h2 { font-size: 19px; margin: 0 0 4px; }
h3 { font-size: 15px; margin: 20px 0 4px; }
p { margin: 4px 0 10px; max-width: 82ch; color: var(--soft); }
nav { position: sticky; top: 0; z-index: 1; background: white; border-bottom: 1px solid var(--line); }
nav ul { display: flex; flex-wrap: wrap; gap: 2px 18px; max-width: 1160px; margin: 0 auto; padding: 9px 24px;
  list-style: none; font-size: 13.5px; }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
section { padding: 26px 0 10px; scroll-margin-top: 40px; border-bottom: 1px solid var(--line); }
figure { margin: 12px 0 18px; }
figure > img { max-width: 100%; height: auto; display: block; }
figcaption { font-size: 13px; color: var(--soft); margin-top: 4px; max-width: 95ch; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; margin: 10px 0; }
th, td { padding: 6px 9px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
thead th { background: var(--tint); border-bottom: 2px solid #d1d5db; vertical-align: bottom; padding: 0; }
th:first-child, td:first-child { text-align: left; }
tbody tr:hover { background: var(--tint); }
thead button { all: unset; cursor: pointer; display: block; padding: 7px 9px; font-weight: 600; }
thead button:focus-visible { outline: 2px solid var(--accent); outline-offset: -2px; }
thead button::after { content: "\\2195"; color: #9ca3af; margin-left: 3px; font-weight: 400; }
th[aria-sort=ascending] button::after { content: "\\2191"; color: var(--accent); }
th[aria-sort=descending] button::after { content: "\\2193"; color: var(--accent); }
td.best { font-weight: 700; }
.note { background: #fffbeb; border-left: 3px solid #e69f00; padding: 7px 12px; margin: 8px 0; color: var(--ink); }
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(330px, 1fr)); gap: 14px 22px;
  margin: 8px 0 16px; }
.pair b { font-weight: 600; }
.pair div { display: flex; gap: 4px; margin-top: 5px; }
.pair img { width: 48px; height: 48px; object-fit: cover; image-rendering: pixelated; border-radius: 3px; }
.fewer { color: #00795a; } .more { color: #b4460a; }
details { margin: 7px 0; }
summary { cursor: pointer; }
pre { background: var(--tint); border: 1px solid var(--line); padding: 12px; overflow: auto; max-height: 420px;
  font: 12px/1.45 ui-monospace, "DejaVu Sans Mono", monospace; }
footer { padding: 18px 24px 40px; color: var(--soft); font-size: 13px; }
@media print { nav { display: none; } details { display: none; } section { break-inside: avoid; } }
"""

_SORT = """
for (const button of document.querySelectorAll('table.sortable thead button')) {
  button.addEventListener('click', () => {
    const head = button.closest('th'), table = head.closest('table'), body = table.tBodies[0];
    const falling = head.getAttribute('aria-sort') === 'ascending' ||
      (head.dataset.first === 'descending' && head.getAttribute('aria-sort') !== 'descending');
    for (const other of table.querySelectorAll('thead th')) other.removeAttribute('aria-sort');
    head.setAttribute('aria-sort', falling ? 'descending' : 'ascending');
    const value = row => row.cells[head.cellIndex].dataset.value;
    const order = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === '' || y === '') return (x === '') - (y === '');
      const numbers = [Number(x), Number(y)];
      const sign = numbers.some(Number.isNaN) ? x.localeCompare(y) : numbers[0] - numbers[1];
      return falling ? -sign : sign;
    };
    body.append(...[...body.rows].sort(order));
  });
}
"""


class Cell(NamedTuple):
    """One cell of a table.

    Attributes:
        text: What is shown.
        value: What it is sorted by, None for last.
        best: Whether it is the best of its column.
    """

    text: str
    value: float | str | None
    best: bool = False


class Section(NamedTuple):
    """A part of a page with a title, an anchor and its HTML."""

    title: str
    anchor: str
    body: str | Callable


def page(title: str, lead: str, sections: Sequence[Section], footer: str) -> str:
    """A page as one HTML file, with links to its sections.

    Args:
        title: Plain text.
        lead: HTML under the title.
        sections: In their order.
        footer: Plain text.
    """
    links = ''.join(f'<li><a href="#{section.anchor}">{escape(section.title)}</a></li>' for section in sections)
    body = '\n'.join(
        f'<section id="{section.anchor}"><h2>{escape(section.title)}</h2>\n{section.body}\n</section>'
        for section in sections
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<link rel="icon" href="data:,"><title>{escape(title)}</title>\n<style>{_CSS}</style></head>\n<body>\n'
        f'<header><h1>{escape(title)}</h1>{lead}</header>\n<nav><ul>{links}</ul></nav>\n<main>\n{body}\n</main>\n'
        f'<footer>{escape(footer)}</footer>\n<script>{_SORT}</script>\n</body></html>\n'
    )


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f'<p>{escape(text)}</p>'


def note(text: str) -> str:
    """A paragraph that stands out."""
    return f'<p class="note">{escape(text)}</p>'


def picture(png: bytes, alt: str, side: int | None = None) -> str:
    """An image within the page.

    Args:
        png: The file.
        alt: What it shows, for who does not see it.
        side: Width and height in pixels that the page keeps free for it; None takes its own.
    """
    size = f' width="{side}" height="{side}"' if side else ''
    return f'<img{size} alt="{escape(alt)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def figure(name: str, png: bytes, alt: str, caption: str) -> str:
    """A figure with its caption and links to its files, ``figures/NAME.png`` and ``.pdf``."""
    links = ' · '.join(f'<a href="figures/{name}.{kind}">{kind.upper()}</a>' for kind in ('png', 'pdf'))
    return f'<figure>{picture(png, alt)}<figcaption>{escape(caption)} {links}</figcaption></figure>'


def table(columns: Sequence[tuple[str, bool]], rows: Iterable[Sequence[Cell]]) -> str:
    """A table that sorts where the title of a column is clicked.

    Args:
        columns: Title of each, and whether larger is better: it is then sorted from the largest down at first.
        rows: A cell for each column.
    """
    heads = ''.join(
        f'<th scope="col"{" data-first=descending" if larger else ""}>'
        f'<button type="button">{escape(title)}</button></th>'
        for title, larger in columns
    )
    body = ''.join('<tr>' + ''.join(map(_cell, row)) + '</tr>\n' for row in rows)
    content = f'<thead><tr>{heads}</tr></thead>\n<tbody>{body}</tbody>'
    return f'<div class="scroll"><table class="sortable">{content}</table></div>'


def _cell(cell: Cell) -> str:
    value = '' if cell.value is None else escape(str(cell.value))
    return f'<td data-value="{value}"{" class=best" if cell.best else ""}>{escape(cell.text)}</td>'


def details(summary: str, *parts: tuple[str, str]) -> str:
    """Text that is folded away: ``(title, text)`` of each part."""
    texts = ''.join(f'<h3>{escape(title)}</h3><pre>{escape(text)}</pre>' for title, text in parts)
    return f'<details><summary>{escape(summary)}</summary>{texts}</details>'
