"""Stage decide: which model, if any, is proven better; pure statistics over the rows.

May import core, stages/evaluate/schema.py, and for power.py the suites' sections.
"""
