"""What a project keeps of its nights, and what it lets go: facts -> plan -> shown, and done where that is asked for.

    facts.py      what is there, as plain values
    plan.py       what may go, and why; pure
    objects.py    DVC: the nights that were saved, their objects in cache and remote
    versions.py   MLflow: what its versions need, the artifacts of its runs
    folders.py    folders of this project's own below .relex/ and study/
    preview.py    the plan as a table
    prune.py      the command

May import the registry and everything below it. facts.py and plan.py know neither files nor DVC nor MLflow.
"""
