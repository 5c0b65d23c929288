"""``prominence upload``, ``ls`` and ``rm``: stored objects."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from prominence.cli.output import as_json, note, show_json, show_table
from prominence.progress import transfer

if TYPE_CHECKING:
    from prominence.session import Session


@click.command()
@click.option("--name", help="Name by which jobs can fetch it; the file's own name if not given.")
@click.option(
    "--filename",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File to upload.",
)
@click.option("--checksum", metavar="SHA256", help="Refuse the file if this is not its SHA-256, in hex.")
@as_json
@click.pass_obj
def upload(
    session: Session, *, name: str | None, filename: Path, checksum: str | None, as_json: bool
) -> None:
    """Upload a file, for any number of jobs to fetch as an artifact.

    The store keeps its SHA-256 beside it, whether or not one is given.

    \b
    Example:
      prominence upload --name mesh.tar.gz --filename ./mesh.tar.gz
    """
    if checksum is not None:
        _check(filename, checksum)
    stored = name or filename.name
    with transfer(f"uploading {stored}") as progress:
        sha256 = session.client.upload_object(stored, filename, progress=progress)
    note(f"{stored} was uploaded")
    if as_json:
        show_json({"name": stored, "size": filename.stat().st_size, "sha256": sha256})


@click.command()
@click.option("-l", "--long", is_flag=True, help="Show sizes in bytes and times of the last change.")
@as_json
@click.argument("path", required=False, default="")
@click.pass_obj
def ls(session: Session, path: str, *, long: bool, as_json: bool) -> None:
    """List uploaded objects; of a group if PATH names one.

    \b
    Example:
      prominence ls -l
    """
    found = session.client.list_objects(path)
    if as_json:
        show_json(found)
    elif long and found:
        rows = [(entry["name"], entry["size"], entry["lastModified"]) for entry in found]
        show_table(("NAME", "SIZE", "CHANGED"), rows)
    else:
        for entry in found:
            click.echo(entry["name"])


@click.command()
@click.argument("object")
@click.pass_obj
def rm(session: Session, object: str) -> None:  # noqa: A002 - the argument's name
    """Delete an uploaded object; one that does not exist is no error.

    \b
    Example:
      prominence rm mesh.tar.gz
    """
    session.client.delete_object(object)
    note(f"{object} was deleted")


def _check(filename: Path, expected: str) -> None:
    import hashlib

    with filename.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected.lower():
        raise click.BadParameter(f"{filename} has the SHA-256 {found}", param_hint="--checksum")
