"""The REST API of the embedded service: requests in, answers out; the work is done below it.

::

    guard.py       who may ask: this machine, with a token; presigned URLs need none
    app.py         the service put together from them, and what every failure is answered with
    jobs.py running.py workflows.py data.py kv.py service.py    one group of routes each
    routes.py      all of them: which paths there are, and what is answered where there is none
    answers.py     JSON answers and refusals, JSON bodies
    openapi.json   the whole API, for readers and for tests
    presigned.py   URLs of files and the files behind them
"""
