"""Quantities: the number, the unit and the scale word (million, dozen) that an answer carries. Pure text and fractions.

- A unit may be left out: then the number is in the unit of the other answer.
- Two units are compared as what they measure: 100 cm is 1 m, 18 km/h is 5 m/s; 5 kg is not 5 N, however alike the
  numbers. Money of different countries and degrees of different scales are never converted.
- A word that the table does not know is a label (5 apples) and left aside; a scale word never is.
- A bare letter behind a number (5m) is a unit where the reference is a number or names a unit, else a variable.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

# What a unit measures, as powers of what is never converted into each other, and how many of the first of its kind it
# is: factor, and the power of pi in it. Each line: spellings | measure | factor. s as a plural is understood.
_TABLE = """
m meter metre | m | 1
mm millimeter millimetre | m | 1/1000
cm centimeter centimetre | m | 1/100
dm decimeter decimetre | m | 1/10
km kilometer kilometre | m | 1000
in inch inches inche | m | 254/10000
ft foot feet | m | 3048/10000
yd yard | m | 9144/10000
mi mile | m | 1609344/1000
s sec second | s | 1
ms millisecond | s | 1/1000
min minute | s | 60
h hr hour | s | 3600
d day | s | 86400
wk week | s | 604800
month mo | month | 1
yr year | month | 12
decade | month | 120
century centuries | month | 1200
kg kilogram | kg | 1
g gram | kg | 1/1000
mg milligram | kg | 1/1000000
t ton tonne | kg | 1000
lb lbs pound | kg | 45359237/100000000
oz ounce | kg | 45359237/1600000000
L l liter litre | m3 | 1/1000
mL ml milliliter millilitre | m3 | 1/1000000
cc | m3 | 1/1000000
gal gallon | m3 | 3785411784/1000000000000
qt quart | m3 | 946352946/1000000000000
pint | m3 | 473176473/1000000000000
cup | m3 | 2365882365/10000000000000
tablespoon tbsp | m3 | 2365882365/160000000000000
teaspoon tsp | m3 | 2365882365/480000000000000
acre | m2 | 40468564224/10000000
ha hectare | m2 | 10000
N newton | kg m s-2 | 1
kN kilonewton | kg m s-2 | 1000
J joule | kg m2 s-2 | 1
kJ kilojoule | kg m2 s-2 | 1000
W watt | kg m2 s-3 | 1
kW kilowatt | kg m2 s-3 | 1000
kWh | kg m2 s-2 | 3600000
Pa pascal | kg m-1 s-2 | 1
kPa kilopascal | kg m-1 s-2 | 1000
Hz hertz | s-1 | 1
V volt | volt | 1
A amp ampere | ampere | 1
ohm | volt ampere-1 | 1
mol mole | mol | 1
K kelvin | kelvin | 1
mph | m s-1 | 1609344/3600000
kph kmh kmph | m s-1 | 1000/3600
rad radian | angle | 1
degree deg \u00b0 | angle | 1/180 pi
rev revolution | angle | 2 pi
celsius \u00b0c | celsius | 1
fahrenheit \u00b0f | fahrenheit | 1
dollar usd buck $ | usd | 1
cent \u00a2 | usd | 1/100
dime | usd | 1/10
quarter | usd | 1/4
nickel | usd | 1/20
penny pennies | usd | 1/100
euro eur \u20ac | eur | 1
pound sterling gbp \u00a3 | gbp | 1
pence | gbp | 1/100
yen jpy \u00a5 | jpy | 1
rupee rs inr \u20b9 | inr | 1
yuan rmb cny | cny | 1
"""
_SCALES: Mapping[str, Fraction] = {
    "dozen": Fraction(12),
    "hundred": Fraction(100),
    "thousand": Fraction(1000),
    "million": Fraction(10**6),
    "billion": Fraction(10**9),
    "trillion": Fraction(10**12),
}
# Words that say nothing about what is measured.
_NOTHING = frozenset({"unit", "units", "of", "the", "a", "an", "in", "total", "each"})


@dataclass(frozen=True)
class Unit:
    """measure: sorted (what, power). factor * pi**pi: how many of the measure's own unit one of it is."""

    measure: tuple[tuple[str, int], ...]
    factor: Fraction
    pi: int = 0

    def __mul__(self, other: Unit) -> Unit:
        powers = dict(self.measure)
        for what, power in other.measure:
            powers[what] = powers.get(what, 0) + power
        return Unit(
            tuple(sorted((what, power) for what, power in powers.items() if power)),
            self.factor * other.factor,
            self.pi + other.pi,
        )

    def __pow__(self, power: int) -> Unit:
        return Unit(
            tuple(sorted((what, each * power) for what, each in self.measure)), self.factor**power, self.pi * power
        )


@dataclass(frozen=True)
class Quantity:
    """number: the text without unit and scale. units: what the unit may mean (a pound is a weight and money); empty
    where there is none or the table does not know it. letter: whether the unit is a bare letter, or else a variable."""

    number: str
    scale: Fraction = Fraction(1)
    units: tuple[Unit, ...] = ()
    letter: bool = False


def _read_table() -> Mapping[str, tuple[Unit, ...]]:
    table: dict[str, tuple[Unit, ...]] = {}
    for line in _TABLE.strip().splitlines():
        spellings, measure, value = (part.strip() for part in line.split("|"))
        powers = []
        for what in measure.split():
            name, power = re.fullmatch(r"([a-z]+?)(-?\d)?", what).groups()  # type: ignore[union-attr]
            powers.append((name, int(power or 1)))
        factor, _, pi = value.partition(" ")
        unit = Unit(tuple(sorted(powers)), Fraction(factor), int(bool(pi)))
        for spelling in spellings.split():
            table[spelling] = (*table.get(spelling, ()), unit)
    return table


_UNITS = _read_table()
_MONEY = {"\\$": "dollar", "$": "dollar", "\u00a3": "gbp", "\u20ac": "euro", "\u00a5": "yen", "\u20b9": "rupee"}
_MONEY["\\pounds"] = "gbp"
_PREFIX = re.compile(r"(-?)\s*(\\\$|\\pounds(?![a-zA-Z])|[$\u00a3\u20ac\u00a5\u20b9])\s*(-?)\s*(?=[\d.\\(])")
_TEXT = r"\\text\s*\{(?:[^{}]|\{[^{}]*\})*\}"
_WORD = _TEXT + r"|\^\\circ\s*(?:\\text\s*\{\s*[CF]\s*\}|[CF](?![a-zA-Z]))?|\\\$|[\u00a2\u20ac\u00a3]"
_POWER = r"\s*\^\s*\{?\s*-?\s*[1-9]\s*\}?"
_ENDS = re.compile(
    rf"(?P<number>.*?[\d)}}!a-z\s]|.*?\\pi)\s*"
    rf"(?P<unit>(?:(?:{_WORD})(?:{_POWER})?|(?<![\\a-zA-Z])[a-zA-Z]{{2,}}\.?(?:{_POWER})?|\s|(?<=[}}a-zA-Z\s])(?:/|\\cdot)"
    r"|(?<=[/\s.])[a-zA-Z](?![a-zA-Z])|-)+)"
)
_LETTER = re.compile(r"(?P<number>-?[\d.,/]+(?:\s*\\frac\{\d+\}\{\d+\})?)\s*(?P<unit>[a-zA-Z](?:\s*\^\s*\{?[23]\}?)?)")
_NUMBER = r"(?:\d+(?:\.\d+)?|\.\d+|\(\d+\+\\frac\{\d+\}\{\d+\}\)|\\frac\{\d+\}\{\d+\})"
_COMPOUND = re.compile(rf"-?(?:{_NUMBER}\s*(?:\\text\s*\{{[^{{}}]+\}}|[a-zA-Z]{{1,9}}\.?)\s*(?:,|and)?\s*){{2,5}}")
_COMPOUND_PART = re.compile(rf"({_NUMBER})\s*(\\text\s*\{{[^{{}}]+\}}|[a-zA-Z]{{1,9}})")
_FUNCTIONS = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc|arc[a-z]+|log|ln)(?![a-zA-Z])")


def quantities(text: str) -> Iterator[Quantity]:
    """How an answer can be read as a number with a unit, the likeliest first; the last is the text as it stands."""
    money = _PREFIX.match(text)
    prefix: tuple[Unit, ...] = ()
    if money:
        prefix = _UNITS[_MONEY[money[2]]]
        text = money[1] + money[3] + text[money.end() :]
    if _COMPOUND.fullmatch(text):
        summed = _sum(text)
        if summed is not None:
            yield summed
            return
    ended = None if _FUNCTIONS.search(text) else _ENDS.fullmatch(text)
    if ended and _a_number(ended["number"], ended["unit"]):
        scale, units, known = _meaning(ended["unit"])
        if known or "\\text" in ended["unit"] or re.search(r"[a-zA-Z]{4}", ended["unit"]):
            yield Quantity(ended["number"].strip(), scale, prefix or units)
            if known or "\\text" in ended["unit"]:
                return
    letter = _LETTER.fullmatch(text)
    if letter:
        _, units, known = _meaning(letter["unit"])
        if known:
            yield Quantity(letter["number"].strip(), Fraction(1), units, letter=True)
    yield Quantity(text, Fraction(1), prefix)


def ratio(one: Quantity, other: Quantity) -> tuple[Fraction, int] | None:
    """(r, k): the first number times r * pi**k is what the second must be. None where they measure different things."""
    scale = one.scale / other.scale
    if not one.units or not other.units:
        return scale, 0
    for mine in one.units:
        for theirs in other.units:
            if mine.measure == theirs.measure:
                return scale * mine.factor / theirs.factor, mine.pi - theirs.pi
    return None


def _a_number(text: str, unit: str) -> bool:
    """Whether what stands before a unit can be its number: it holds a digit or a sign of mathematics, and a word
    without \\text stands off from it, so that 5xy is a product."""
    text = text.strip()
    return bool(re.search(r"\d|\\pi|\\sqrt|[a-z]", text)) and (
        not re.search(r"[a-zA-Z]$", text) or unit.lstrip().startswith("\\text") or text.endswith("\\pi")
    )


def _sum(text: str) -> Quantity | None:
    """1 hour 30 minutes as seconds: a sum of parts that measure the same."""
    sign = "-" if text.startswith("-") else ""
    parts = []
    for number, word in _COMPOUND_PART.findall(text):
        scale, units, known = _meaning(word)
        if not known or scale != 1:
            return None
        parts.append((number, units[0]))
    if len({(unit.measure, unit.pi) for _, unit in parts}) != 1:
        return None
    terms = [f"{number} \\cdot \\frac{{{u.factor.numerator}}}{{{u.factor.denominator}}}" for number, u in parts]
    return Quantity(f"{sign}({'+'.join(terms)})", units=(Unit(parts[0][1].measure, Fraction(1), parts[0][1].pi),))


def _meaning(text: str) -> tuple[Fraction, tuple[Unit, ...], bool]:
    """(scale, what the unit may be, whether any word of it was known)."""
    text = re.sub(r"\\text\s*\{((?:[^{}]|\{[^{}]*\})*)\}", r" \1 ", text)
    text = re.sub(r"\^\\circ\s*", " \u00b0", text).replace("\\$", " $ ").replace("\\cdot", " ")
    text = re.sub(r"(?<=[a-zA-Z])-(?=[a-zA-Z])", " ", text)
    text = re.sub(r"(?i)(?:degrees?|\u00b0)\s*(c|f)(?:elsius|ahrenheit)?(?![a-z])", " \u00b0\\1 ", text)
    text = re.sub(r"\s*\^\s*\{?\s*(-?)\s*([1-9])\s*\}?", r"^\1\2", text.replace("(", " ").replace(")", " "))
    words = re.findall(r"/|[^\s/,^]+(?:\^-?\d)?", text)
    scale, found, known, ahead, below = Fraction(1), list[tuple[Unit, ...]](), False, 1, False
    for word in words:
        name, _, power = word.rstrip(".").partition("^")
        lower = name.lower()
        if lower in _SCALES or lower.removesuffix("s") in _SCALES:
            scale *= _SCALES[lower if lower in _SCALES else lower.removesuffix("s")]
            known = True
        elif lower in ("square", "sq", "cubic", "cu"):
            ahead = 3 if lower.startswith("cu") else 2
        elif lower in ("squared", "cubed") and found:
            found[-1] = tuple(unit ** (3 if lower == "cubed" else 2) for unit in found[-1])
        elif lower in ("per", "/"):
            below = True
        elif (units := _named(name)) is not None:
            exponent = int(power or 1) * ahead * (-1 if below else 1)
            found.append(tuple(unit**exponent for unit in units))
            ahead, known = 1, True
        elif lower not in _NOTHING:
            break  # a label: what follows tells about it
    if not found:
        return scale, (), known
    meanings = found[0]
    for units in found[1:]:
        said_twice = tuple(unit for unit in meanings if unit in units)  # pounds sterling
        meanings = said_twice or tuple(one * other for one in meanings for other in units)
    return scale, meanings, known


def _named(name: str) -> tuple[Unit, ...] | None:
    """The units of that name: as it is written, then in small letters, then without its plural's s."""
    lower = name.lower()
    for spelling in (name, lower, lower.removesuffix("s")):
        if spelling in _UNITS and (len(name) > 1 or spelling == name or not name.isalpha()):
            return _UNITS[spelling]
    return None
