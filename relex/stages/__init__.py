"""One folder per DVC stage: params.py is its section of params.yaml, stage.py its `run(its sections)`.

One name everywhere: dvc.yaml, params.yaml, command, folder here and in tests/. What two stages share is a library
below them (window, policy, trajectory, rewards, forecast, checkpoints, core); a stage never imports another one.
"""
