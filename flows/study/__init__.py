"""Evidence, not production: what the docs show of many seeds, rays and trainings (`python -m flows.study --help`)."""
