"""Where the artifacts of a night lie, relative to the project's root: one name, one stage that writes it."""

from __future__ import annotations

from pathlib import Path

PARAMS = Path("params.yaml")
PROFILES = Path("infra/profiles")  # other params.yaml files, ready to be put in its place

PROBLEMS = Path("problems")  # problems: <split>.jsonl
BASE = Path("base")  # base: a Hugging Face checkpoint folder, theta_0
TRAJECTORY = Path("trajectory")  # train: manifest.json, steps/
COMPLETIONS = Path("completions.parquet")  # train: verified completions for the likelihood scan
CANDIDATES = Path("candidates")  # extrapolate: step_<N>/ per target, directions/ of those without weights, fit.json
OBSERVED = Path("observed")  # extrapolate: the last observed step as a checkpoint folder
EVALUATION = Path("evaluation")  # evaluate: rows/<model>.parquet, models/ for a winner that had no file before
REPORT = Path("report.html")  # report

# Small files under version control; the same numbers again from the same inputs.
METRICS = Path("metrics")
BASE_METRICS = METRICS / "base.json"
TRAIN_METRICS = METRICS / "train.json"
TRAIN_STEPS = METRICS / "train_steps.csv"
DIAGNOSIS = METRICS / "diagnose.json"
EXTRAPOLATION_METRICS = METRICS / "extrapolate.json"
EVALUATION_METRICS = METRICS / "evaluate.json"
DECISION = METRICS / "decision.json"
HEADLINE = METRICS / "headline.json"  # report: a dozen numbers of all of the above, what tables of nights show
RACE = METRICS / "race.csv"  # report: accuracy against horizon, as a table

# Seconds spent, and when, one file per stage: with the report all that differs between identical runs.
TIMINGS = Path("timings")
TRAIN_SECONDS = TIMINGS / "train_steps.csv"

HELD_OUT = PROBLEMS / "held_out.json"  # problems: the prompts that the embedded base's own corpus leaves out
SLICE = PROBLEMS / "slice.json"  # problems: which of the fresh problems these are, and how often they were asked

# Files from outside that params.yaml names, as links (core/inputs.py): dependencies of the stages that read them.
INPUT_BASE = Path("inputs/base")
INPUT_PROBLEMS = Path("inputs/problems")
INPUT_SUITES = Path("inputs/suites")
INPUT_NONE = Path("inputs/none")
TRUE_RLVR = Path("inputs/true-rlvr.json")  # a file, not a link: curves that the study measured (ledger/true_rlvr.py)

# What the present hop starts from (core/hop.py), written when it begins: an input of the stages, key by key.
HOP = Path("hop.json")
CHAMPION_WEIGHTS = Path("champion")  # of the champion it names, fetched from the registry
START_WEIGHTS = Path("start")  # of the model it starts from, where that is another one

# A line a hop and a line a night, under version control: what was spent and what was won.
LEDGER = Path("ledger.jsonl")
LEDGER_TABLE = Path("ledger.csv")  # the same as a flat table, for plots

# Every champion there was, one JSON line a move, under version control: the registry's own log in a file.
HISTORY = Path("history.jsonl")

# Not artifacts: locks, caches keyed by content, training state.
PREFECT = Path(".prefect")  # the nights' own Prefect server: its database outlives it
STATE = Path(".relex")
ROWS_CACHE = STATE / "rows"
TRAIN_STATE = STATE / "train"  # what a training goes on from
NIGHT_LOCK = STATE / "night.lock"

# Folders outside STATE in which commands write under temporary names first (atomic.py): beside an output.
WRITTEN = (Path(), METRICS, TIMINGS, TRAJECTORY, TRAJECTORY / "steps", TRAJECTORY / "cache")

DVC_LOCK = Path("dvc.lock")
# Under version control and written by nights themselves; flows/commit.py commits them.
OWN = (DVC_LOCK, HOP, LEDGER, LEDGER_TABLE, HISTORY, INPUT_BASE, METRICS)
