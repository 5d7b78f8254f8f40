"""Where the problems of the stage `problems` come from, and how they are dealt to its splits."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from typing import Any

from tqdm import tqdm

from relex.core.errors import InputError
from relex.rewards.problem import SPLITS, Problem, make_problem
from relex.rewards.score import unusable_answers
from relex.stages.problems.params import (
    Addition,
    DatasetProblems,
    FileProblems,
    Problems,
    ReasoningGym,
    Sizes,
    SortDigits,
)
from relex.stages.problems.rows import Found, adapted, columns, gym, read_dataset, read_table

# Procedural sources repeat small problems: how many draws per wanted problem before giving up on finding new ones.
_DRAWS_PER_PROBLEM = 20
_DEALT = ("train", "validation", "test")
_WHERE = "problems.source"
_AT_A_TIME = 32  # references held against their scorer in one batch

Streams = dict[str, Iterator[Problem]]  # by split; endless, or as long as the source


@dataclass(frozen=True)
class Deal:
    """Problems by split; distinct within and between splits, and those of validation from every other slice's.

    first: the validation problems of slice 0. looks: how many slices, this one included, were dealt these very
    problems: 1 for fresh ones, more where the source had no others left.
    """

    splits: dict[str, list[Problem]]
    first: list[Problem]
    looks: int


def deal(section: Problems, slice_number: int = 0) -> Deal:
    """The problems of every split that has a size. Slices differ in their validation problems alone: whatever is left
    of the source is dealt to them in turn, `sizes.validation` each, and begins again where it ends."""
    sizes, seen = section.sizes, set[str]()
    together = sizes.model_copy(update={"validation": sizes.validation * (slice_number + 1)})
    streams = SOURCES[type(section.source)](section.source, together, section.seed)
    splits = _fill(streams, sizes, seen)
    slices = [splits["validation"]]
    while len(slices) <= slice_number:
        more = _draw(streams["validation"], sizes.validation, seen, f"validation, slice {len(slices)}")
        if len(more) < sizes.validation:
            break
        slices.append(more)
    used = slices[slice_number % len(slices)]
    return Deal(splits | {"validation": used}, slices[0], slice_number // len(slices) + 1)


def _sorting(source: SortDigits, sizes: Sizes, seed: int) -> Streams:
    generator = random.Random(seed)
    return _two(_sort_digits(source.lengths, generator), _sort_digits(source.ood_lengths, generator))


def _sums(source: Addition, sizes: Sizes, seed: int) -> Streams:
    return _two(_addition(source.numbers, source.template, seed), _addition(source.ood_numbers, source.template, seed))


def _task(source: ReasoningGym, sizes: Sizes, seed: int) -> Streams:
    return _two(_gym(source, sizes, seed, ood=False), _gym(source, sizes, seed, ood=True))


def _two(in_domain: Iterator[Problem], ood: Iterator[Problem]) -> Streams:
    """One stream for all splits in the domain, another one for ood."""
    return dict.fromkeys(_DEALT, in_domain) | {"ood": ood}


def _sort_digits(lengths: tuple[int, ...], generator: random.Random) -> Iterator[Problem]:
    while True:
        digits = generator.sample("0123456789", generator.choice(lengths))
        yield make_problem("".join(digits) + "=", "".join(sorted(digits)), "exact")


def _addition(numbers: tuple[int, int], template: str, seed: int) -> Iterator[Problem]:
    every = range(numbers[0], numbers[1] + 1)
    pairs = list(product(every, every))
    random.Random(seed).shuffle(pairs)
    for a, b in pairs:
        yield make_problem(template.replace("{question}", f"{a} + {b}"), str(a + b), "integer")


def _gym(source: ReasoningGym, sizes: Sizes, seed: int, *, ood: bool) -> Iterator[Problem]:
    items = gym(
        source.task,
        source.ood_config if ood else source.config,
        seed=seed + ood,
        size=(sizes.train + sizes.validation + sizes.test + sizes.ood) * _DRAWS_PER_PROBLEM,
        template=source.template,
        threshold=source.threshold,
        scorer=source.scorer,
        where=_WHERE,
    )
    return _usable(items, skip=False)


def _table(source: FileProblems | DatasetProblems, sizes: Sizes, seed: int) -> Streams:
    """A stream per split, each in an order that the seed and the problems' content decide, not the file."""
    if isinstance(source, FileProblems):
        one, several = source.path, source.paths
    else:
        one, several = source.split, source.splits

    def read(place: str) -> list[Found]:
        if isinstance(source, FileProblems):
            rows, where = read_table(Path(place), _WHERE), place
        else:
            rows = read_dataset(source.repo, source.config, place, source.revision, _WHERE)
            where = f"{source.repo}, split {place}"
        if not rows:
            raise InputError("no rows", where=f"{_WHERE}: {where}", expected="at least one problem")
        found = adapted(rows, columns(source.problem, source.answer), source.template, source.scorer, where)
        short = [one for one in found if source.longest is None or len(one.problem.prompt) <= source.longest]
        if len(short) < len(found):
            print(f"{where}: {len(found) - len(short)} of {len(found)} prompts are longer and left out")
        return short

    parts: dict[str, list[Found]] = {split: read(place) for split, place in several.items()}
    dealt = {} if one is None else {"the dealt problems": read(one)}
    distinct = _distinct(dealt | parts)
    skip = source.unusable == "skip"
    streams = {split: _usable(_shuffled(distinct[split], seed), skip=skip) for split in parts}
    if one is not None:
        stream = _usable(_shuffled(distinct["the dealt problems"], seed), skip=skip)
        streams |= {split: stream for split in _DEALT}
    return streams


def _distinct(parts: Mapping[str, list[Found]]) -> dict[str, list[Found]]:
    """Each part without repeats; InputError when a problem stands in two parts, or twice with different answers."""
    seen: dict[str, tuple[str, Found]] = {}
    distinct: dict[str, list[Found]] = {part: [] for part in parts}
    for part, found in parts.items():
        for one in found:
            earlier = seen.get(one.problem.content)
            if earlier is None:
                seen[one.problem.content] = (part, one)
                distinct[part].append(one)
            elif earlier[0] != part:
                raise InputError(
                    "a problem stands in two splits",
                    where=f"{earlier[1].where} ({earlier[0]}) and {one.where} ({part})",
                    expected="splits that are disjoint by content",
                    found=repr(one.problem.prompt[:80]),
                )
            elif earlier[1].problem.answer != one.problem.answer:
                raise InputError(
                    "the same problem has two answers",
                    where=f"{earlier[1].where} and {one.where}",
                    found=f"{earlier[1].problem.answer[:40]!r} and {one.problem.answer[:40]!r}",
                )
        if len(distinct[part]) < len(found):
            print(f"{part}: {len(found) - len(distinct[part])} of {len(found)} rows are repeats and count once")
    return distinct


def _shuffled(found: Iterable[Found], seed: int) -> list[Found]:
    return sorted(found, key=lambda one: hashlib.sha256(f"{seed}\0{one.problem.id}".encode()).digest())


def _usable(found: Iterable[Found], *, skip: bool) -> Iterator[Problem]:
    """Problems whose answers their scorers can read; the others are left out and counted, or refused."""
    skipped = 0
    for one, fault in _with_faults(found):
        if fault is None:
            yield one.problem
        elif skip:
            skipped += 1
            print(f"{one.where}: left out, {fault}: {one.problem.answer[:80]!r}")
        else:
            raise InputError(
                fault,
                where=one.where,
                found=repr(one.problem.answer[:80]),
                todo="correct the row, choose another scorer, or set problems.source.unusable: skip",
            )
    if skipped:
        print(f"{skipped} problems were left out: their answers cannot be scored")


def _with_faults(found: Iterable[Found]) -> Iterator[tuple[Found, str | None]]:
    """Each with why its answer cannot be scored; some at a time, as many as are drawn and few more."""
    left = iter(found)
    while some := list(islice(left, _AT_A_TIME)):
        references = [(one.problem.scorer, one.problem.answer, one.problem.entry) for one in some]
        yield from zip(some, unusable_answers(references), strict=True)


def _fill(streams: Mapping[str, Iterator[Problem]], sizes: Sizes, seen: set[str]) -> dict[str, list[Problem]]:
    """Deal distinct problems to the splits, the small held-out ones first."""
    splits: dict[str, list[Problem]] = {split: [] for split in SPLITS if getattr(sizes, split)}
    for split in (split for split in ("test", "validation", "train", "ood") if split in splits):
        wanted = getattr(sizes, split)
        splits[split] = _draw(streams[split], wanted, seen, split)
        if len(splits[split]) < wanted:
            raise InputError(
                "the source has too few distinct problems",
                where=f"problems.sizes.{split}",
                expected=wanted,
                found=len(splits[split]),
                todo="ask for fewer problems or for a richer source",
            )
    return splits


def _draw(stream: Iterator[Problem], wanted: int, seen: set[str], name: str) -> list[Problem]:
    """The next `wanted` problems that were not `seen`, which they then are; fewer where the source has no more."""
    found: list[Problem] = []
    bar = tqdm(total=wanted, desc=f"problems: {name}", unit="problem", mininterval=2.0, delay=2.0)
    for draws, problem in enumerate(stream, 1):
        if problem.content not in seen:
            seen.add(problem.content)
            found.append(problem)
            bar.update(1)
        if len(found) == wanted or draws >= wanted * _DRAWS_PER_PROBLEM:
            break
    bar.close()
    return found


# How each kind of source is dealt: (its section, the sizes, the seed) -> streams.
SOURCES: Mapping[type, Callable[[Any, Sizes, int], Streams]] = {
    SortDigits: _sorting,
    Addition: _sums,
    ReasoningGym: _task,
    FileProblems: _table,
    DatasetProblems: _table,
}
