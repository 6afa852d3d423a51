"""The conformance suite: the contract row by row, against any engine that speaks the wire.

A reader's way: `contract.py` lists the rows, `cases/` shows them, `context.py` is what a case acts on, `doors/` are the
two transports in one set of words, `target.py` is the engine measured, `run.py` and `report.py` the command.
Nothing here imports the engine, and no message class is the engine's (`doors/messages.py`).
"""
