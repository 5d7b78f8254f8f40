"""Numbers and names as the page writes them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from markupsafe import Markup

from relex.stages.report.data import Evaluation, Model

# How a sequential test ended.
ENDED = {
    "proven": "proven",
    "futile": "no longer to be expected",
    "spent": "not proven: samples spent",
    "stopped": "stopped: another test failed",
}


def share(value: float) -> str:
    """A share of 1 with three digits, without its leading zero: .482."""
    return f"{value:.3f}".replace("0.", ".", 1)


def points(value: float) -> str:
    """A difference of two shares in percentage points, with its sign: +32.1."""
    return f"{100 * value:+.1f}".replace("-", "\N{MINUS SIGN}")


def between(low: float, high: float) -> str:
    """An interval of shares."""
    return f"{share(low)}\N{EN DASH}{share(high)}"


def seconds(value: float) -> str:
    """A duration to its two largest units: 0.26 s, 42 s, 3 min 14 s, 2 h 5 min."""
    if value < 9.95:
        return f"{value:.2g} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def multiple(step: int, window: int) -> str:
    """A step in multiples of the window: 6.7x."""
    return f"{step / window:.1f}".removesuffix(".0") + "\N{MULTIPLICATION SIGN}"


def moment(value: datetime) -> Markup:
    """A moment in UTC; the page's script says it in the reader's zone."""
    utc = value.astimezone(UTC)
    text = f"{utc.day} {utc:%B %Y, %H:%M} UTC"
    return Markup('<time datetime="{}">{}</time>').format(f"{utc:%Y-%m-%dT%H:%M:%SZ}", text)


def day(value: datetime) -> Markup:
    """The day of a moment, likewise."""
    utc = value.astimezone(UTC)
    return Markup('<time data-day datetime="{}">{}</time>').format(f"{utc:%Y-%m-%dT%H:%M:%SZ}", f"{utc:%Y-%m-%d}")


def short_hash(value: str | None) -> str:
    """The first twelve digits of a hash."""
    return value[:12] if value else "\N{EN DASH}"


def tensor(name: str) -> str:
    """A tensor's name without what all names share."""
    return name.removeprefix("model.").removesuffix(".weight")


def model(name: str, found: Model, window: int, noun: str) -> str:
    """What a model is called on the page. window: last trained step. noun: for a candidate."""
    match found.kind:
        case "base":
            return "base"
        case "observed":
            return f"last observed ({found.step})"
        case "champion":
            return f"champion, version {found.version}" if found.version else "champion"
        case _:
            return candidate(name, found.step or 0, window, "control" if found.control else noun)


def candidate(name: str, step: int, window: int, noun: str) -> str:
    """What a candidate is called: with its variant, where it is one."""
    kind = variant(name)
    return f"{noun} {step}{f', {kind}' if kind else ''} ({multiple(step, window)})"


def variant(name: str) -> str:
    """What a candidate's name says beside its step; nothing for the plain forecast."""
    return re.sub(r"^step_\d+-?", "", name)


def times(value: float) -> str:
    """A ratio: 0.52x, 3.1x, 24x."""
    return f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 10 else f"{value:.0f}"


def sampled(problems: int, samples: int) -> str:
    """The same in a sentence: 50 problems, 2 samples of each."""
    return f"{problems:,} problem{'' if problems == 1 else 's'}, {samples} sample{'' if samples == 1 else 's'} of each"


def asked(problems: int, samples: int) -> str:
    """What a share rests on: 50 problems x 2."""
    return f"{problems} problem{'' if problems == 1 else 's'} \N{MULTIPLICATION SIGN} {samples}"


def avg_at(evaluation: Evaluation) -> str:
    """avg@8 on the suites that are reported, or avg@k where they differ in k."""
    roles = ("test", "ood")
    drawn = {suite.samples for suite in evaluation.protocol.suites.values() if suite.role in roles}
    return f"avg@{drawn.pop()}" if len(drawn) == 1 else "avg@k"
