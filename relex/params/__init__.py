"""params.yaml as a whole: its sections together, rules between them, and what this machine lacks to carry it out.

May import the stages (each owns its section) and everything below; nothing in a stage may import this room, so that a
key of one section runs no other stage again.
"""
