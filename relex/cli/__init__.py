"""The command line: Typer, exit codes, one function a command. May import anything, inside the commands only."""
