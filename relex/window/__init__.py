"""An observed window, opened: passes over its bytes within a memory budget, and what is asked of it.

May import trajectory, forecast, checkpoints and core. A change here never trains again: stages/train stays clear of it.
"""
