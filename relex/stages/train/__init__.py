"""Stage train: short RLVR with TRL, and the window of its weights captured. Only config.py and trainer.py import TRL.

May import trajectory, policy, rewards, forecast (the meter forecasts), checkpoints and core; never window.
"""
