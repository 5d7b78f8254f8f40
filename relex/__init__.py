"""Short RLVR, rank-1 extrapolation of its weights, and promotion only of what is proven better.

The rooms, the upper ones standing on the lower; imports run downwards only (the contracts are in pyproject.toml):

    cli          the command line; imports nothing heavy until a command runs
    retention    what a project keeps of its nights, and what it lets go
    registry     MLflow: what is registered, promoted, rolled back, rebuilt
    params       params.yaml as a whole, and whether this machine can carry it out
    stages       one folder per DVC stage; they do not know each other
    window       an observed window, opened: passes over it within a memory budget
    policy       the language model asked in this process | trajectory: our format on disk
    rewards      problems and scores | forecast: the method, pure | checkpoints: folders of safetensors
    core         what everything stands on

relex/ never imports Prefect nor flows/.
"""
