"""Burn short texts into pictures with a small bitmap alphabet of our own (5 x 7 pixels).

Capitals, digits and common punctuation; small letters are shown as capitals, accents are dropped
and everything else is a box, so that nothing vanishes silently.
"""

from __future__ import annotations

import functools
import unicodedata
from typing import Any

import numpy as np
from numpy.typing import NDArray

_WIDTH, _HEIGHT = 5, 7
_BOX = "##### #...# #...# #...# #...# #...# #####"
_GLYPHS = {
    " ": "..... ..... ..... ..... ..... ..... .....",
    "A": ".###. #...# #...# ##### #...# #...# #...#",
    "B": "####. #...# #...# ####. #...# #...# ####.",
    "C": ".###. #...# #.... #.... #.... #...# .###.",
    "D": "####. #...# #...# #...# #...# #...# ####.",
    "E": "##### #.... #.... ####. #.... #.... #####",
    "F": "##### #.... #.... ####. #.... #.... #....",
    "G": ".###. #...# #.... #.### #...# #...# .###.",
    "H": "#...# #...# #...# ##### #...# #...# #...#",
    "I": ".###. ..#.. ..#.. ..#.. ..#.. ..#.. .###.",
    "J": "..### ...#. ...#. ...#. ...#. #..#. .##..",
    "K": "#...# #..#. #.#.. ##... #.#.. #..#. #...#",
    "L": "#.... #.... #.... #.... #.... #.... #####",
    "M": "#...# ##.## #.#.# #.#.# #...# #...# #...#",
    "N": "#...# ##..# ##..# #.#.# #..## #..## #...#",
    "O": ".###. #...# #...# #...# #...# #...# .###.",
    "P": "####. #...# #...# ####. #.... #.... #....",
    "Q": ".###. #...# #...# #...# #.#.# #..#. .##.#",
    "R": "####. #...# #...# ####. #.#.. #..#. #...#",
    "S": ".#### #.... #.... .###. ....# ....# ####.",
    "T": "##### ..#.. ..#.. ..#.. ..#.. ..#.. ..#..",
    "U": "#...# #...# #...# #...# #...# #...# .###.",
    "V": "#...# #...# #...# #...# .#.#. .#.#. ..#..",
    "W": "#...# #...# #...# #.#.# #.#.# ##.## #...#",
    "X": "#...# #...# .#.#. ..#.. .#.#. #...# #...#",
    "Y": "#...# #...# .#.#. ..#.. ..#.. ..#.. ..#..",
    "Z": "##### ....# ...#. ..#.. .#... #.... #####",
    "0": ".###. #...# #..## #.#.# ##..# #...# .###.",
    "1": "..#.. .##.. ..#.. ..#.. ..#.. ..#.. .###.",
    "2": ".###. #...# ....# ..##. .#... #.... #####",
    "3": "####. ....# ....# .###. ....# ....# ####.",
    "4": "...#. ..##. .#.#. #..#. ##### ...#. ...#.",
    "5": "##### #.... ####. ....# ....# #...# .###.",
    "6": ".###. #.... #.... ####. #...# #...# .###.",
    "7": "##### ....# ...#. ..#.. ..#.. .#... .#...",
    "8": ".###. #...# #...# .###. #...# #...# .###.",
    "9": ".###. #...# #...# .#### ....# ....# .###.",
    ".": "..... ..... ..... ..... ..... .##.. .##..",
    ",": "..... ..... ..... ..... .##.. .##.. .#...",
    ":": "..... .##.. .##.. ..... .##.. .##.. .....",
    "-": "..... ..... ..... .###. ..... ..... .....",
    "_": "..... ..... ..... ..... ..... ..... #####",
    "+": "..... ..#.. ..#.. ##### ..#.. ..#.. .....",
    "/": "....# ....# ...#. ..#.. .#... #.... #....",
    "(": "...#. ..#.. .#... .#... .#... ..#.. ...#.",
    ")": ".#... ..#.. ...#. ...#. ...#. ..#.. .#...",
    "^": "..#.. .#.#. #...# ..... ..... ..... .....",
    "=": "..... ..... ##### ..... ##### ..... .....",
    "%": "##..# ##..# ...#. ..#.. .#... #..## #..##",
    "'": "..#.. ..#.. .#... ..... ..... ..... .....",
    "#": ".#.#. .#.#. ##### .#.#. ##### .#.#. .#.#.",
    "?": ".###. #...# ....# ..##. ..#.. ..... ..#..",
}


@functools.cache
def _glyph(letter: str) -> NDArray[np.bool_]:
    art = _GLYPHS.get(letter, _BOX).split()
    return np.array([[dot == "#" for dot in row] for row in art], np.bool_)


def _plain(text: str) -> str:
    apart = unicodedata.normalize("NFKD", text.upper())
    return "".join(letter for letter in apart if not unicodedata.combining(letter))


def text_mask(text: str, scale: int = 1) -> NDArray[np.bool_]:
    """Where the strokes of a line of text lie: (7 * scale, 6 * letters * scale)."""
    letters = [np.pad(_glyph(letter), ((0, 0), (0, 1))) for letter in _plain(text)]
    line = np.concatenate(letters, axis=1) if letters else np.zeros((_HEIGHT, 0), np.bool_)
    return line.repeat(scale, axis=0).repeat(scale, axis=1)


def burn(
    picture: NDArray[Any],
    text: str,
    *,
    row: int,
    column: int,
    scale: int,
    ink: float,
    edge: float | None = None,
) -> None:
    """Write a line into `picture` in place, its upper left corner at (row, column).

    `edge` draws an outline so that letters stay readable on any ground. What does not fit is cut.
    """
    strokes = np.pad(text_mask(text, scale), scale)
    if edge is not None:
        halo = strokes.copy()
        for axis in (0, 1):
            for step in (-scale, scale):
                halo |= np.roll(strokes, step, axis)
        _paint(picture, halo, row - scale, column - scale, edge)
    _paint(picture, strokes, row - scale, column - scale, ink)


def _paint(
    picture: NDArray[Any], mask: NDArray[np.bool_], row: int, column: int, ink: float
) -> None:
    up, left = max(-row, 0), max(-column, 0)
    area = picture[max(row, 0) :, max(column, 0) :]
    cut = mask[up : up + area.shape[0], left : left + area.shape[1]]
    area[: cut.shape[0], : cut.shape[1]][cut] = ink
