"""Scripts written for the service's own Python client, version 0.21: its names, translated.

::

    client.py       the client that ``ProminenceClient(authenticated=...)`` makes
    exceptions.py   its names of errors, found when ``prominence.exceptions`` is asked for them
    modules/        its modules that this library does not have, found as ``prominence.task`` and the like

Nothing here is imported before a script uses such a name.
"""
