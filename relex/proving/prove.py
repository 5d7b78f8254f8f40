"""`relex prove`: race, gate, guards and page for any checkpoint folders, by the code of the stages."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from relex.core.atomic import new_folder, write_json, write_text
from relex.core.errors import InputError
from relex.core.topology import topology
from relex.proof.rules import Rules
from relex.proving import models as named
from relex.proving.account import Account
from relex.proving.folder import ProofFolder
from relex.proving.options import Files, Models, Options
from relex.proving.wording import in_options, said_in_options
from relex.rewards.confined import check_available
from relex.rewards.problem import Problem
from relex.rewards.score import unusable_answers
from relex.stages.decide import stage as decide
from relex.stages.evaluate.contestants import Contestant
from relex.stages.evaluate.engine.settings import engine_facts
from relex.stages.evaluate.generation import Generation
from relex.stages.evaluate.params import Evaluate
from relex.stages.evaluate.row_store import RowStore
from relex.stages.evaluate.stage import Evaluation, print_table
from relex.stages.evaluate.suites.suite import Suite, check_disjoint, suites_of
from relex.stages.problems.rows import TABLES, adapted, check_columns, columns, read_table
from relex.stages.report.beside import Beside
from relex.stages.report.read import read_proven
from relex.stages.report.samples import read_samples
from relex.stages.report.stage import page
from relex.trajectory.numbering import naming_folder

# Of the section `evaluate`, what changes no row and no decision: a proof may go on with other values.
_OF_THE_MACHINE = {"engines", "tensor_parallel", "cpu_kv_cache_gib", "reload", "suites"}


def prove(models: Models, files: Files, options: Options, out: Path) -> str:
    """Prove which of the models is better, if any, into the folder `out`; the decision in a sentence.

    A run that was killed is taken up by the same call. InputError or InputErrors for folders, files and options that
    will not do, before anything is generated: then nothing is left of a folder that was new.
    """
    with said_in_options():
        return _prove(models, files, options, out)


def _prove(models: Models, files: Files, options: Options, out: Path) -> str:
    folder, rules = ProofFolder(out), options.rules
    folder.check()
    check_available()
    places = named.places(models)
    if (engines := options.engines) is None:
        engines = max(1, len(topology().gpus) // max(1, options.tensor_parallel))
    dtype = named.own_dtype(models.base) if options.dtype == "auto" else options.dtype
    settings = options.evaluate(files, dtype, engines)
    suites = _suites(settings, files, options)
    length = named.longest_prompt(places, suites) + options.max_tokens
    settings = settings.model_copy(update={"max_model_len": length})
    named.check_sound(places)
    contestants = named.contestants(places)
    with folder.held():
        folder.claim(request(settings, rules, suites, contestants))
        _evaluate(folder, settings, rules, suites, contestants)
        decision = decide.replay(rules, folder.decided)
        write_json(folder.decision, decision)
        write_page(folder, files)
    return str(decision["sentence"])


def request(
    settings: Evaluate, rules: Rules, suites: Iterable[Suite], contestants: Iterable[Contestant]
) -> dict[str, Any]:
    """prove.json: all that the decision follows from, beside the rows."""
    return {
        "evaluate": settings.model_dump(mode="json", exclude=_OF_THE_MACHINE),
        "decide": rules.model_dump(mode="json"),
        "suites": {suite.name: suite.sha256 for suite in suites},
        "models": {
            each.name: {"kind": each.kind, "step": each.step, "model_sha256": each.model_sha256} for each in contestants
        },
    }


def _suites(settings: Evaluate, files: Files, options: Options) -> list[Suite]:
    """The suites, held against each other and against what the models were trained on, every answer readable."""
    for option, path in files.tables.items():
        _check_columns(option, path, files)
    suites = suites_of(settings, options.asking)
    check_disjoint(suites, _trained(files, options))
    for suite in suites:
        faults = unusable_answers([(problem.scorer, problem.answer, problem.entry) for problem in suite.problems])
        for problem, fault in zip(suite.problems, faults, strict=True):
            if fault is not None:
                raise InputError(
                    fault,
                    where=f"suite {suite.name}, problem {problem.prompt[:80]!r}",
                    found=repr(problem.answer[:80]),
                    todo="correct the row, or choose another --scorer",
                )
    return suites


def _check_columns(option: str, path: Path, files: Files) -> None:
    """InputError for a table without one of the columns. One that is missing or no table is told of later."""
    if path.is_file() and path.suffix in TABLES:
        check_columns(path, {"--problem": files.problem, "--answer": files.answer}, option)


def _trained(files: Files, options: Options) -> list[Problem]:
    if files.train is None:
        return []
    rows = read_table(files.train, "--train")
    found = adapted(rows, columns(files.problem, files.answer), options.template, options.scorer, str(files.train))
    return [one.problem for one in found]


def _evaluate(
    folder: ProofFolder, settings: Evaluate, rules: Rules, suites: list[Suite], contestants: list[Contestant]
) -> None:
    """rows/, evaluate.json and timings/evaluate.json, as the stage evaluate writes a night's."""
    account = Account(folder.account)
    store = RowStore(folder.cache, engine_facts(settings))
    generation = Generation(settings, store, contestants, folder.state, told=lambda: account.note(generation.spent))
    try:
        with generation:
            evaluation = Evaluation(
                settings, rules, suites, contestants, store, generation, say=lambda said: print(in_options(said))
            )
            plan = evaluation.plan()
            evaluation.carry_out(plan)
        with new_folder(folder.rows, replace=True) as rows:
            metrics = evaluation.write_rows(rows)
        write_json(folder.evaluation, evaluation.facts(plan, metrics))
    finally:
        account.close(generation.spent)
    print_table(metrics, [suite.name for suite in suites])


def write_page(folder: ProofFolder, files: Files) -> None:
    """report.html, of what stands in the folder."""
    proven = read_proven(folder.evaluation, folder.decision, folder.timings)
    samples = read_samples(proven, folder.rows)
    folders = {name: naming_folder(Path(model.folder)).name for name, model in proven.evaluation.models.items()}
    beside = Beside(task=files.suite.name, model=None, champions=[], samples=samples, folders=folders)
    write_text(folder.report, page(proven, beside))
