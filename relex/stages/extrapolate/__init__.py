"""Stage extrapolate: from a window to candidate checkpoints. Only on_ray.py imports Ray.

May import window, trajectory, forecast, checkpoints and core.
"""
