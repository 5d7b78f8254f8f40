"""What an answer stays equal to, and what it never is equal to, for answers and rewritings that hypothesis makes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relex.rewards.answers import judge, same
from relex.rewards.sizes import TooMuch

pytestmark = pytest.mark.filterwarnings("ignore")
_FEW = settings(max_examples=25, deadline=None, derandomize=True)

_INTEGERS = st.integers(-99_999, 99_999).map(str)
_FRACTIONS = st.tuples(st.sampled_from(["", "-"]), st.integers(1, 60), st.integers(2, 60)).map(
    lambda p: f"{p[0]}\\frac{{{p[1]}}}{{{p[2]}}}"
)
_DECIMALS = st.tuples(st.integers(-500, 500), st.integers(0, 999)).map(lambda p: f"{p[0]}.{p[1]:03d}")
_NUMBERS = _INTEGERS | _FRACTIONS | _DECIMALS
_TERMS = st.tuples(st.integers(2, 9), st.sampled_from(["x", "y", "\\pi", "\\sqrt{2}", "x^{2}"]), _FRACTIONS).map(
    lambda p: f"{p[0]}{p[1]} + ({p[2]})"
)
_ONE = _NUMBERS | _TERMS
_SEVERAL = st.lists(st.integers(-50, 50), min_size=3, max_size=5, unique=True)
_ENDS = st.sampled_from(["()", "[]", "(]", "[)"])


def _grouped(text: str) -> str:
    sign, digits = ("-", text[1:]) if text.startswith("-") else ("", text)
    return f"{sign}{int(digits):,}" if digits.isdigit() and not digits.startswith("0") else text


_REWRITINGS: dict[str, Callable[[str], str]] = {
    "itself": lambda text: text,
    "dollars": lambda text: f"${text}$",
    "round brackets of LaTeX": lambda text: f"\\({text}\\)",
    "display": lambda text: f"\\[ {text} \\]",
    "spaces": lambda text: text.replace("+", "\\, +\\; ").replace("{", "{ ").replace("}", " }"),
    "a space before": lambda text: f" \\ {text} ",
    "a full stop": lambda text: f"{text}.",
    "dfrac": lambda text: text.replace("\\frac", "\\dfrac"),
    "tfrac": lambda text: text.replace("\\frac", "\\tfrac"),
    "displaystyle": lambda text: f"\\displaystyle {text}",
    "left and right": lambda text: text.replace("(", "\\left(").replace(")", "\\right)"),
    "brackets around it": lambda text: f"\\left({text}\\right)",
    "a minus sign": lambda text: text.replace("-", "\u2212"),
    "an en dash": lambda text: text.replace("-", "\u2013"),
    "thousands": _grouped,
    "thin spaces": lambda text: _grouped(text).replace(",", "\\,"),
    "braced commas": lambda text: _grouped(text).replace(",", "{,}"),
    "a name": lambda text: f"a = {text}",
    "a name behind": lambda text: f"{text} = a",
}


@pytest.mark.parametrize("name", _REWRITINGS)
@_FEW
@given(_ONE)
def test_an_answer_equals_itself_however_it_is_written(name: str, answer: str) -> None:
    written = _REWRITINGS[name](answer)
    assert same(written, answer)
    assert same(answer, written)
    assert judge(f"so \\boxed{{{written}}}", answer)["value"] == 1.0


@_FEW
@given(_ONE)
def test_an_answer_never_equals_itself_with_the_other_sign(answer: str) -> None:
    if answer.strip("-0.") and not answer.startswith("-\\frac{0}"):
        other = f"-({answer})"
        assert not same(other, answer)
        assert not same(answer, other)


@_FEW
@given(st.integers(-999, 999), st.integers(1, 9), st.integers(3, 12))
def test_a_decimal_never_equals_one_that_differs_in_any_place(whole: int, digit: int, place: int) -> None:
    answer = f"{whole}.5"
    assert not same(f"{answer}{'0' * place}{digit}", answer)
    assert same(f"{answer}{'0' * place}", answer)


# Spellings of one unit each; no two of them measure the same amount.
_SPELLINGS = (
    ("\\text{ cm}", "\\text{ centimeters}", "\\mathrm{cm}", " cm"),
    ("\\text{ m}", "\\text{ meters}", "\\,\\mathrm{m}", "\\text{ metres}"),
    ("\\text{ km}", "\\text{ kilometers}", " km"),
    ("\\text{ cm}^2", "\\text{ square centimeters}", "\\text{ cm}^{2}"),
    ("\\text{ m/s}", "\\text{ meters per second}", "\\mathrm{m/s}"),
    ("\\text{ km/h}", "\\text{ kilometers per hour}", "\\text{ kph}"),
    ("\\text{ kg}", "\\text{ kilograms}", "\\mathrm{kg}"),
    ("\\text{ newtons}", "\\text{ N}"),
    ("\\text{ seconds}", "\\text{ s}", "\\text{ sec}"),
    ("\\text{ minutes}", "\\text{ min}", " minutes"),
    ("\\text{ hours}", "\\text{ hrs}", " hours"),
    ("^\\circ", "^{\\circ}", "\\text{ degrees}", "\u00b0"),
    ("\\text{ radians}", "\\text{ rad}"),
    ("\\text{ dollars}", " dollars", "\\text{ USD}"),
    ("\\text{ cents}", " cents"),
    ("\\text{ euros}", "\u20ac"),
    ("\\text{ million}", " million"),
    ("\\text{ dozen}", " dozen"),
)
_UNITS = st.sampled_from(range(len(_SPELLINGS)))


@_FEW
@given(st.integers(1, 9_999), _UNITS, st.data())
def test_a_quantity_equals_itself_in_every_spelling_of_its_unit(number: int, unit: int, data: st.DataObject) -> None:
    one, other = (data.draw(st.sampled_from(_SPELLINGS[unit])) for _ in range(2))
    assert same(f"{number}{one}", f"{number}{other}")


@_FEW
@given(st.integers(1, 9_999), _UNITS, _UNITS, st.data())
def test_a_quantity_never_equals_the_same_number_of_another_unit(
    number: int, unit: int, changed: int, data: st.DataObject
) -> None:
    if unit != changed:
        one, other = (data.draw(st.sampled_from(_SPELLINGS[which])) for which in (unit, changed))
        assert not same(f"{number}{one}", f"{number}{other}")


@_FEW
@given(st.integers(2, 9_999), st.integers(2, 9), st.integers(2, 9))
def test_digits_never_equal_themselves_in_another_base(number: int, base: int, other: int) -> None:
    digits = ""
    while number:
        number, digit = divmod(number, min(base, other))
        digits = f"{digit}{digits}"
    assert same(f"{digits}_{{{base}}}", f"{digits}_{base}")
    assert same(digits, f"{digits}_{base}")
    assert same(f"{digits}_{{{other}}}", f"{digits}_{base}") == (base == other)


@_FEW
@given(_SEVERAL, st.data())
def test_elements_keep_their_brackets_and_a_tuple_its_order(elements: list[int], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(elements))
    first, second = ", ".join(map(str, elements)), ",".join(map(str, shuffled))
    assert same(f"({first})", f"( {','.join(map(str, elements))} )")
    assert same(f"({second})", f"({first})") == (shuffled == elements)
    assert same(f"\\{{{second}\\}}", f"\\{{{first}\\}}")
    assert same(second, first)
    assert same(second, f"\\{{{first}\\}}")
    assert not same(f"({first})", f"\\{{{first}\\}}")
    assert not same(f"\\{{{first}\\}}", f"({first})")
    assert not same(first, f"({first})")


@_FEW
@given(
    st.integers(-50, 49),
    st.integers(1, 50),
    _ENDS,
    _ENDS,
)
def test_an_interval_never_equals_one_with_other_ends(low: int, length: int, ends: str, others: str) -> None:
    high = low + length
    assert same(f"{ends[0]}{low}, {high}{ends[1]}", f"{others[0]}{low},{high}{others[1]}") == (ends == others)
    signs = ["<" if end in "()" else "\\le" for end in ends]
    assert same(f"{low} {signs[0]} x {signs[1]} {high}", f"{others[0]}{low},{high}{others[1]}") == (ends == others)


@_FEW
@given(st.integers(1, 99), st.integers(1, 58), st.integers(2, 60))
def test_a_mixed_number_is_its_whole_and_its_fraction(whole: int, above: int, below: int) -> None:
    if above < below:
        value = f"\\frac{{{whole * below + above}}}{{{below}}}"
        assert same(f"{whole} {above}/{below}", value)
        assert same(f"-{whole}\\frac{{{above}}}{{{below}}}", f"-{value}")
        assert not same(f"{whole} {above}/{below}", f"\\frac{{{whole * above}}}{{{below}}}")


@_FEW
@given(st.integers(0, 99), st.text("0123456789", max_size=2), st.text("0123456789", min_size=1, max_size=3))
def test_a_repeating_decimal_is_its_fraction(whole: int, start: str, period: str) -> None:
    below = 10 ** len(start) * (10 ** len(period) - 1)
    above = int(f"{whole}{start}{period}") - int(f"{whole}{start}")
    assert same(f"{whole}.{start}\\overline{{{period}}}", f"\\frac{{{above}}}{{{below}}}")
    assert same(f"{whole}.{start}({period})", f"\\frac{{{above}}}{{{below}}}")


@_FEW
@given(st.text(max_size=60) | st.text("0123456789(){}[]\\,.;:$%^_+-=<>/ xeit", max_size=60))
def test_any_text_is_judged_and_never_trips(text: str) -> None:
    with contextlib.suppress(TooMuch):
        assert same(text, "7/31") in (True, False)
