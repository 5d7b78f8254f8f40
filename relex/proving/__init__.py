"""A proof of any checkpoint folders: race, gate, guards and page in a folder of its own, without params.yaml or DVC.

May import the stages and everything below; the stages evaluate, decide and report do the work, handed other places.
"""
