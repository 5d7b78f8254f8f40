"""Stage evaluate: every model of the night under one protocol: generate, score, measure.

May import policy, rewards, checkpoints, core, and of stages/problems rows.py alone. schema.py is what stages/decide
needs to know of this room.
"""
