"""The model registry: one file an action, on a whole night. Only this room imports MLflow.

May import params and everything below it, and its own store/; of the other actions as little as can be.
"""
