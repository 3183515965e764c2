"""Names as people look for them: folded text, words, and how a word sounds.

Everything here is one-way: a folded form is compared, never shown. The same functions make the keys
that are stored (`patient.name_key`, `patient_word`) and the keys that are looked for, so a change
here needs the stored keys made anew (`lightwell reindex`).
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

FOLD_LIMIT = 400  # characters: a B-tree entry of PostgreSQL may hold 2,704 bytes
WORD_LIMIT = 64  # characters of one word
WORDS_LIMIT = 32  # words of one name; nobody is called more, a hostile header may be

KIND_WORD = 1  # one word of the name, any component group
KIND_SOUND = 2  # how a Latin word sounds
KIND_GROUP = 3  # the whole ideographic or phonetic group: prefix search beside `name_key`

# Letters that Unicode does not decompose although readers take them for a base letter with a mark.
_LETTERS = str.maketrans(
    {"ı": "i", "ø": "o", "đ": "d", "ð": "d", "ł": "l", "ħ": "h", "æ": "ae", "œ": "oe", "þ": "th"}
)
# Their compatibility forms would turn into separators and wildcards.
_IMITATIONS = str.maketrans(dict.fromkeys("＊？＾＝＼﹡﹖﹦﹨", " "))
_BREAKS = re.compile(r"[\s^=,.;:\-‐‑–—'’`\"()/\\_]+")


@lru_cache(maxsize=8192)
def fold_text(text: str) -> str:
    """Casefolded, compatibility forms unified, accents dropped; white space runs become one space.

    Marks of combining class below 10 stay: they are letters of their script (nukta, kana voicing,
    virama), not accents. So 'Müller' is 'muller', 'ﾔﾏﾀﾞ' is 'ヤマダ', and 'ガ' is not 'カ'.
    """
    if text.isascii():
        return " ".join(text.lower().split())
    decomposed = unicodedata.normalize("NFKD", text.translate(_IMITATIONS).casefold())
    bare = "".join(c for c in decomposed if unicodedata.combining(c) < 10)
    composed = unicodedata.normalize("NFC", bare.casefold().translate(_LETTERS))
    return " ".join(composed.split())


@lru_cache(maxsize=8192)
def fold_group(group: str) -> str:
    """One component group: each component folded, trailing '^' dropped (PS3.5 6.2.1.1)."""
    return "^".join(fold_text(part) for part in group.split("^")).rstrip("^")


def fold(text: str) -> str:
    """A person name as `patient.name_key` holds it: groups by '=', components by '^', folded.

    At most `FOLD_LIMIT` characters.
    """
    groups = [fold_group(group) for group in text.split("=")[:3]]
    return "=".join(groups).rstrip("=")[:FOLD_LIMIT]


def words_of(text: str) -> list[str]:
    """The folded words of any text, in order, each once."""
    found = dict.fromkeys(word[:WORD_LIMIT] for word in _BREAKS.split(fold_text(text)) if word)
    return list(found)[:WORDS_LIMIT]


def words(pn: str) -> list[tuple[int, str]]:
    """Rows for `patient_word`: (kind, word) of one PN with its groups separated by '='.

    Kind 1 are the folded words of all groups, kind 2 how the Latin ones sound, kind 3 the folded
    ideographic and phonetic groups as a whole. Each row once.
    """
    plain = words_of(pn)
    rows = [(KIND_WORD, word) for word in plain]
    rows += [(KIND_SOUND, code) for code in map(sound, plain) if code]
    groups = [fold_group(group)[:FOLD_LIMIT] for group in pn.split("=")[1:3]]
    rows += [(KIND_GROUP, group) for group in groups if group]
    return list(dict.fromkeys(rows))


# Spellings of one sound, longest first; only what is common in names across European languages.
_SPELLINGS = (
    (re.compile(r"^kn|^gn"), "n"),
    (re.compile(r"^wr"), "r"),
    (re.compile(r"^ps|^x"), "s"),
    (re.compile(r"tsch|sch|sh|cz|ch(?=[ei])"), "s"),
    (re.compile(r"ph"), "f"),
    (re.compile(r"ck|ch|qu?"), "k"),
    (re.compile(r"dt|th"), "t"),
    (re.compile(r"c(?=[eiy])"), "s"),
    (re.compile(r"x"), "ks"),
)
_CLASSES = str.maketrans(
    {
        **dict.fromkeys("aeiouyj", "a"),
        **dict.fromkeys("hw", "h"),
        **dict.fromkeys("bp", "p"),
        **dict.fromkeys("fv", "f"),
        **dict.fromkeys("ckgq", "k"),
        **dict.fromkeys("sz", "s"),
        **dict.fromkeys("dt", "t"),
        **dict.fromkeys("mn", "m"),
    }
)
_SOUND_LENGTH = 6


@lru_cache(maxsize=8192)
def sound(word: str) -> str:
    """A short code that similar sounding Latin words share; '' for other scripts and single letters.

    Our own relative of Soundex: the first sound counts by class too ('Katharina', 'Catherine'), a
    leading vowel is 'a', later vowels only separate, doubled sounds count once.
    """
    letters = "".join(c for c in word if "a" <= c <= "z")
    if len(letters) < 2 or len(letters) * 2 < len(word):
        return ""
    for pattern, spelling in _SPELLINGS:
        letters = pattern.sub(spelling, letters)
    classes = letters.translate(_CLASSES)
    if classes[0] == "h" and letters[0] == "w":
        classes = "f" + classes[1:]
    code: list[str] = []
    before = ""
    for place, letter in enumerate(classes):
        silent = letter in "ah" and place > 0
        if letter != before and not silent:
            code.append(letter)
        if letter != "h":
            before = letter
    return "".join(code)[:_SOUND_LENGTH]
