"""The proof: which rows to generate next, and what the rows so far prove. Pure: arrays in, numbers out.

May import core alone. stages/evaluate generates what the policy asks for, stages/decide and the registry replay it over
the rows, and `relex calibrate` simulates it.
"""
