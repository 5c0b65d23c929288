"""Hooks of the executor package.

They are marked for whichever host asks for them: this project's own plugin manager, or that of another
program, whose markers pluggy keeps apart by the project name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Executor


def prominence_executors() -> Mapping[str, Callable[..., Executor]]:  # type: ignore[empty-body]
    """Executors by name, each as something to call with the executor's options.

    Called when somebody asks for an executor by name (:func:`prominence_executors.create`) or for the list
    of names. The answers of all plugins are put together; for a name that several have, the plugin
    registered last wins. Importing what an executor needs should wait until it is called. Example::

        @hookimpl
        def prominence_executors():
            return {"threads": concurrent.futures.ThreadPoolExecutor}
    """
