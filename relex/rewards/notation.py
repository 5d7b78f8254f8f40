"""One way of writing for what is written in many: LaTeX layout, Unicode signs, numbers. Pure text, nothing is parsed.

What is decided here, each once:
- A minus sign is a minus sign: hyphen, U+2212, an en dash. An en dash between two digits is a range and stays one.
- 3 4/5 and 3\\frac{4}{5} are mixed numbers, 1e3 is 10^3 times 1, 0.1\\overline{6}, 0.1\\dot{6}, 0.1(6) never end.
- Digits in threes behind a comma, a thin space or a space are one number, except for commas inside brackets, which
  separate (plain(..., grouped=False) separates them everywhere).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_SIGNS = str.maketrans(
    {
        "\u2212": "-",
        "\u2010": "-",
        "\u2011": "-",
        "\ufe63": "-",
        "\uff0d": "-",
        "\u00d7": r"\times ",
        "\u22c5": r"\cdot ",
        "\u00b7": r"\cdot ",
        "\u00f7": r"\div ",
        "\u2264": r"\le ",
        "\u2265": r"\ge ",
        "\u2260": r"\neq ",
        "\u2248": r"\approx ",
        "\u221e": r"\infty ",
        "\u03c0": r"\pi ",
        "\u00b0": r"^\circ ",
        "\u00b1": r"\pm ",
        "\u222a": r"\cup ",
        "\u2229": r"\cap ",
        "\u2205": r"\emptyset ",
        "\u2208": r"\in ",
        "\u00b2": "^2",
        "\u00b3": "^3",
        "\u00bd": r"\frac{1}{2}",
        "\u00bc": r"\frac{1}{4}",
        "\u00be": r"\frac{3}{4}",
        "\u2153": r"\frac{1}{3}",
        "\u2154": r"\frac{2}{3}",
        "\u211d": r"\mathbb{R}",
        "\u00a0": " ",
        "\u2009": " ",
        "\u202f": " ",
    }
)
_LAYOUT: Sequence[tuple[re.Pattern[str], str]] = [
    (re.compile(r"(?<!\\)\\[()\[\]]|\\displaystyle(?![a-zA-Z])|\\textstyle(?![a-zA-Z])"), " "),
    (re.compile(r"\\(?:left|right|bigl?|bigr|Bigl?|Bigr|biggl?|biggr)(?![a-zA-Z])\.?"), ""),
    (re.compile(r"\\[dtc]frac(?![a-zA-Z])"), r"\\frac"),
    (re.compile(r"\\(?:text|math)(?:rm|bf|it|sf|normal|up)\s*\{"), r"\\text{"),
    (re.compile(r"\\(?:mbox|textbf|operatorname\*?)\s*\{"), r"\\text{"),
    (re.compile(r"\\text\s+\{"), r"\\text{"),
    (re.compile(r"\\mathbf\s*\{\s*([a-zA-Z])\s*\}"), r"\1"),
    (re.compile(r"\\(?:lbrace)(?![a-zA-Z])"), r"\\{"),
    (re.compile(r"\\(?:rbrace)(?![a-zA-Z])"), r"\\}"),
    (re.compile(r"\\(?:leqslant|leq)(?![a-zA-Z])|<=(?!>)"), r"\\le "),
    (re.compile(r"\\(?:geqslant|geq)(?![a-zA-Z])|>="), r"\\ge "),
    (re.compile(r"\\ne(?![a-zA-Z])|\\not\s*=|(?<=\s)!="), r"\\neq "),
    (re.compile(r"\\(?:varnothing|O)(?![a-zA-Z])"), r"\\emptyset "),
    (re.compile(r"\^\s*\{?\s*\\circ\s*\}?|\\degrees?(?![a-zA-Z])"), r"^\\circ "),
    (re.compile(r"\\(?:imath|mathrm\{i\}|text\{i\})(?![a-zA-Z])"), "i"),
    (re.compile(r"\\text\{e\}(?=\s*\^)"), "e"),
    (re.compile(r"(?<=\d)(?:\^\s*\{?\s*\\text\s*\{\s*(?:st|nd|rd|th)\s*\}\s*\}?|(?:st|nd|rd|th)(?![a-zA-Z]))"), ""),
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"\u221a\s*\(([^()]*)\)"), r"\\sqrt{\1}"),
    (re.compile(r"\u221a\s*(\d+|[a-z])"), r"\\sqrt{\1}"),
    (re.compile(r"\\\\(?=[a-zA-Z])(?!.*\\begin)"), r"\\"),
]
_SPACES = re.compile(r"(?<!\\)\\[,;:! ]|\\q?quad(?![a-zA-Z])|~|\s")
_GROUP = r"(?:,|\{,\}|\\[,!;: ]|\u2009| )"
_GROUPED = re.compile(rf"(?<![\d.,}}])\d{{1,3}}(?:{_GROUP}\d{{3}})+(?!\d|\s*/)")
_GROUPED_BY_SPACE = re.compile(r"(?<![\d.,}])\d{1,3}(?:(?:\{,\}|\\[,!;: ]|\u2009| )\d{3})+(?!\d|\s*/)")
_SEPARATORS = re.compile(r"[^\d]")
_DASH = re.compile(r"(?<!\d)\s*[\u2012\u2013](?=\s*[\d.\\(a-zA-Z])|(?<=[\d}a-z)])\s+[\u2012\u2013]\s+(?=[\d\\(a-z])")
_SCIENTIFIC = re.compile(r"(?<![\w.\\])(\d+(?:\.\d*)?|\.\d+)[eE]([-+]?\d{1,9})(?![\w.])")
_REPEATING = (
    re.compile(r"(?<![\d.])(\d*)\.(\d*)\\(?:overline|bar)\s*\{?\s*(\d+)\s*\}?"),
    re.compile(r"(?<![\d.])(\d*)\.(\d*)\((\d+)\)"),
    re.compile(r"(?<![\d.])(\d*)\.(\d*)\\dot\s*\{?\s*(\d)\s*\}?(?!\d*\\dot)"),
    re.compile(r"(?<![\d.])(\d*)\.(\d*)\\dot\s*\{?\s*(\d)\s*\}?(\d*)\\dot\s*\{?\s*(\d)\s*\}?"),
)
_BEFORE = r"(?<![\w.}^_)\]\\!])"
_MIXED = re.compile(rf"{_BEFORE}(\d+)\s+(\d+)\s*/\s*(\d+)(?![\d.]|\s*/)")
_MIXED_FRAC = re.compile(rf"{_BEFORE}(\d+)\s*\\frac\s*(?:\{{\s*(\d+)\s*\}}|(\d))\s*(?:\{{\s*(\d+)\s*\}}|(\d))")
_END = re.compile(r"(?:(?<!\\)[.;,]|\s)+$")
_LONGEST_REPETITION = 60


def plain(text: str, *, grouped: bool = True) -> str:
    """A final answer in the one form that the others of this room read. grouped: commas may stand inside a number."""
    text = _END.sub("", _without_dollars(text.replace(r"\!", "").strip()).strip())
    text = _DASH.sub(lambda match: match[0].replace("\u2013", "-").replace("\u2012", "-"), text.translate(_SIGNS))
    text = re.sub(r"\\(?:left|right)\s*\\([{}])", r"\\\1", text)
    text = _numbers(text, grouped)  # before the spaces go: they group digits
    for pattern, put in _LAYOUT:
        text = pattern.sub(put, text)
    return _mixed(_END.sub("", re.sub(r"\s+", " ", _SPACES.sub(" ", text)).strip()))


def _without_dollars(text: str) -> str:
    """Without the signs that open and close mathematics; one alone is money."""
    bare = re.findall(r"(?<!\\)\$", text)
    if len(bare) == 1 or (len(bare) == 2 and re.fullmatch(r"-?\$[^$]*[^\s$]\s*(?:,|and|to|or|-)\s*\$[^$]*", text)):
        return re.sub(r"(?<!\\)\$", r"\\$", text)
    return re.sub(r"(?<!\\)\$", " ", text)


def _numbers(text: str, grouped: bool) -> str:
    inside = bool(re.match(r"\s*(?:[^()\[\]{}]*=)?\s*(?:\\left)?\s*(?:\(|\[|\\\{)", text)) or not grouped
    pattern = _GROUPED_BY_SPACE if inside else _GROUPED
    text = pattern.sub(lambda match: _SEPARATORS.sub("", match[0]), text)
    text = _SCIENTIFIC.sub(r"\1 \\cdot 10^{\2}", text)
    text = _REPEATING[3].sub(lambda m: _repeating(m[1], m[2], m[3] + m[4] + m[5]), text)
    for pattern in _REPEATING[:3]:
        text = pattern.sub(lambda m: _repeating(m[1], m[2], m[3]), text)
    return text


def _repeating(whole: str, start: str, period: str) -> str:
    if len(whole + start + period) > _LONGEST_REPETITION:
        return f"{whole}.{start}\\overline{{{period}}}"
    below = 10 ** len(start) * (10 ** len(period) - 1)
    above = int((whole + start + period) or 0) - int((whole + start) or 0)
    return f"(\\frac{{{above}}}{{{below}}})"


def _mixed(text: str) -> str:
    def put(whole: str, above: str, below: str, found: str) -> str:
        proper = int(above) < int(below)
        return f"({whole}+\\frac{{{above}}}{{{below}}})" if proper else found

    text = _MIXED.sub(lambda m: put(m[1], m[2], m[3], m[0]), text)
    return _MIXED_FRAC.sub(lambda m: put(m[1], m[2] or m[3], m[4] or m[5], m[0]), text)
