"""A `concurrent.futures` executor whose futures are PROMINENCE jobs."""

from prominence.plugins import hookimpl
from prominence_executors.calls.objects import StoredObject
from prominence_executors.executor import ProminenceExecutor
from prominence_executors.future import ProminenceFuture
from prominence_executors.jobs import Attempt
from prominence_executors.options import JobOptions
from prominence_executors.outcome import CompletedJob
from prominence_executors.plugin import available, create, host_adapters, register
from prominence_executors.retries import Retries
from prominence_executors.stats import ExecutorStats

__all__ = [
    "Attempt",
    "CompletedJob",
    "ExecutorStats",
    "JobOptions",
    "ProminenceExecutor",
    "ProminenceFuture",
    "Retries",
    "StoredObject",
    "available",
    "create",
    "hookimpl",
    "host_adapters",
    "register",
]
