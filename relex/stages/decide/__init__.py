"""Stage decide: which model, if any, is proven better: the proof's policy, played over the rows.

May import proof, core, stages/evaluate/schema.py.
"""
