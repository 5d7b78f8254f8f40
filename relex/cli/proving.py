"""A proof of any checkpoint folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Optional

import typer

from relex.core.choices import Scorer

commands = typer.Typer()
_PROOF = "Proof of own checkpoints"
_MODELS, _PROBLEMS, _ASKING, _MACHINE, _RULES = "Models", "Problems", "How they are asked", "Machine", "What is proven"


@commands.command(rich_help_panel=_PROOF)
def prove(
    base: Annotated[
        Path, typer.Option(help="The checkpoint folder that training began from.", rich_help_panel=_MODELS)
    ],
    last: Annotated[
        str,
        typer.Option(
            metavar="FOLDER",
            help="The last trained checkpoint, which a candidate must beat; its name says its step (step_45, "
            "checkpoint-45, global_step_45), or STEP=FOLDER does.",
            rich_help_panel=_MODELS,
        ),
    ],
    candidate: Annotated[
        list[str],
        typer.Option(
            metavar="FOLDER", help="What may be better, likewise with its step; repeat.", rich_help_panel=_MODELS
        ),
    ],
    suite: Annotated[
        Path,
        typer.Option(
            help="Problems with answers, a row each (.jsonl, .parquet, .csv), that no model was trained on: one part "
            "of them chooses the leader, the other proves it.",
            rich_help_panel=_PROBLEMS,
        ),
    ],
    out: Annotated[Path, typer.Option(help="The folder of this proof; the same call again goes on in it.")],
    champion: Annotated[
        Optional[Path], typer.Option(help="What is in use now, to be beaten as well.", rich_help_panel=_MODELS)
    ] = None,
    ood: Annotated[
        Optional[Path],
        typer.Option(help="Problems of another kind, on which nothing may be lost.", rich_help_panel=_PROBLEMS),
    ] = None,
    test: Annotated[
        Optional[Path],
        typer.Option(help="Problems that are only reported, once it is decided.", rich_help_panel=_PROBLEMS),
    ] = None,
    train: Annotated[
        Optional[Path],
        typer.Option(
            help="The problems that were trained on: refused where one stands in the others.", rich_help_panel=_PROBLEMS
        ),
    ] = None,
    problem: Annotated[str, typer.Option(help="Column of the problem.", rich_help_panel=_PROBLEMS)] = "problem",
    answer: Annotated[str, typer.Option(help="Column of the answer.", rich_help_panel=_PROBLEMS)] = "answer",
    scorer: Annotated[
        Scorer, typer.Option(help="When a completion is right.", rich_help_panel=_PROBLEMS)
    ] = "math-verify",
    template: Annotated[
        str, typer.Option(help="The prompt; {question} stands for the problem.", rich_help_panel=_ASKING)
    ] = "{question}",
    chat: Annotated[
        bool, typer.Option("--chat", help="As the user's turn of the chat template.", rich_help_panel=_ASKING)
    ] = False,
    system: Annotated[
        Optional[str], typer.Option(help="With --chat: the system text before it.", rich_help_panel=_ASKING)
    ] = None,
    max_tokens: Annotated[int, typer.Option(help="Most tokens of an answer.", rich_help_panel=_ASKING)] = 1024,
    temperature: Annotated[float, typer.Option(help="0 is greedy.", rich_help_panel=_ASKING)] = 1.0,
    top_p: Annotated[float, typer.Option(help="Nucleus that tokens are drawn from.", rich_help_panel=_ASKING)] = 1.0,
    samples: Annotated[
        int, typer.Option(help="Answers a problem that are reported (test, ood).", rich_help_panel=_ASKING)
    ] = 4,
    seed: Annotated[int, typer.Option(help="Of the answers.", rich_help_panel=_ASKING)] = 0,
    backend: Annotated[
        Literal["vllm", "transformers"], typer.Option(help="What generates.", rich_help_panel=_MACHINE)
    ] = "vllm",
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        typer.Option(help="What is computed in; auto: what the base is stored in.", rich_help_panel=_MACHINE),
    ] = "auto",
    engines: Annotated[
        Optional[int],
        typer.Option(help="Engines at a time; left out: one a GPU, one on a CPU.", rich_help_panel=_MACHINE),
    ] = None,
    tensor_parallel: Annotated[int, typer.Option(help="GPUs an engine.", rich_help_panel=_MACHINE)] = 1,
    rows: Annotated[
        Optional[int],
        typer.Option(
            help="Most answers to generate, report included; left out: as many as it takes.", rich_help_panel=_RULES
        ),
    ] = None,
    first: Annotated[int, typer.Option(help="Problems of the first look.", rich_help_panel=_RULES)] = 50,
    race_samples: Annotated[int, typer.Option(help="Most answers a problem to choose by.", rich_help_panel=_RULES)] = 4,
    proof_samples: Annotated[
        int, typer.Option(help="Most answers a problem to prove by.", rich_help_panel=_RULES)
    ] = 16,
    gate_share: Annotated[
        float, typer.Option(help="Share of --suite that proves; the rest chooses.", rich_help_panel=_RULES)
    ] = 0.5,
    alpha: Annotated[
        float, typer.Option(help="Most often that nothing better may pass.", rich_help_panel=_RULES)
    ] = 0.05,
    min_gain: Annotated[
        float, typer.Option(help="Gain of right answers that must be exceeded.", rich_help_panel=_RULES)
    ] = 0.01,
    max_ood_loss: Annotated[
        float, typer.Option(help="Largest loss of right answers on --ood.", rich_help_panel=_RULES)
    ] = 0.02,
    ood_alpha: Annotated[
        float, typer.Option(help="Most often that a larger loss may pass.", rich_help_panel=_RULES)
    ] = 0.1,
    max_truncated: Annotated[
        float, typer.Option(help="Largest share of answers that are cut off.", rich_help_panel=_RULES)
    ] = 0.05,
) -> None:
    """Prove on your own problems whether a checkpoint, whatever made it, is better than the last trained one.

    Every candidate races on the problems that choose; the leader must beat --last and the champion (the base, where
    there is none) on problems that nothing was chosen on, and lose nothing on --ood. Where it fails, --last may take
    its place. No params.yaml, DVC or registry is needed; nothing is written outside --out: rows/, evaluate.json,
    decision.json and the page report.html. Killed and called again it goes on. Exit code 0 whatever is decided.
    """
    flags = dict(locals())
    from relex.proving import prove as action
    from relex.proving.options import Files, Models, Options

    models = Models(base, last, tuple(candidate), champion)
    files = Files(suite, ood, test, train, problem, answer)
    options = Options(**{name: flags[name] for name in Options.__dataclass_fields__})
    typer.echo(action.prove(models, files, options, out))
    typer.echo(f"report: {out / 'report.html'}")
