"""The errors of the public client, by what they are in this library's tree.

It had one for each method, and raised it whatever the reason was.
"""

from __future__ import annotations

from typing import Final

from prominence import exceptions

ERRORS: Final[dict[str, type[exceptions.ProminenceError]]] = {
    "ClientCredentialsError": exceptions.ConfigurationError,
    "ClientRegistrationError": exceptions.RequestFailure,
    "ConnectionError": exceptions.ServiceUnavailable,
    "DeletionError": exceptions.ServiceError,
    "ExecError": exceptions.ServiceError,
    "FileUploadError": exceptions.RequestFailure,
    "IOError": exceptions.ConfigurationError,  # it was about the files of ~/.prominence
    # A description is refused by this library's rules or by the service, and what may have been accepted is
    # an error of its own: what the three have in common is the root.
    "JobCreationError": exceptions.ProminenceError,
    "JobGetError": exceptions.ServiceError,
    "KeyValueError": exceptions.ServiceError,
    "NoSuchKey": exceptions.NotFound,
    "ObjectError": exceptions.ServiceError,
    "RemoveFromQueueError": exceptions.ServiceError,
    "SnapshotCreateError": exceptions.ServiceError,
    "SnapshotGetError": exceptions.ServiceError,
    "StdStreamsError": exceptions.ServiceError,
    "TokenError": exceptions.ConfigurationError,
    "TokenExpiredError": exceptions.AuthenticationError,
    "UsageError": exceptions.RequestFailure,
    "WorkflowCreationError": exceptions.ProminenceError,
    "WorkflowGetError": exceptions.ServiceError,
}
