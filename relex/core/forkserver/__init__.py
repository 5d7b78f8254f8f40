"""Processes forked from one that has imported what all of them need: torch, transformers, vLLM, MLflow.

A stage, an action and an engine each spend more on importing than on most of what they do. A server imports once and
forks whenever it is asked. What is forked is as if it had been started afresh: its own working folder, environment,
standard streams and search path, this project's code imported anew, and it ends with whoever asked for it. Where
anything else about the asker's process is unlike the server's, the server refuses, and the asker does its work itself.

    server.py         templates: what has imported a list of modules and forks when asked
    keeper.py         between a template and one forked process: ends all of it when the asker ends
    forked.py         the forked process, made what a fresh one would be
    surroundings.py   what must be alike for that
    ask.py            the asker's side
"""
