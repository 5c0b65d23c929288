"""``prominence kv``: the key-value store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from prominence.cli.output import as_json, note, show_json

if TYPE_CHECKING:
    from prominence.session import Session


@click.group()
def kv() -> None:
    """Read and write the key-value store, which jobs can reach too.

    \b
    Example:
      prominence kv set study/best 0.42
    """


@kv.command("list")
@as_json
@click.argument("path", required=False, default="")
@click.pass_obj
def list_(session: Session, path: str, *, as_json: bool) -> None:
    """List keys, or those that begin with PATH.

    \b
    Example:
      prominence kv list study
    """
    found = session.client.kv_list(path)
    if as_json:
        show_json(found)
    else:
        for key in found:
            click.echo(key)


@kv.command()
@as_json
@click.argument("key")
@click.pass_obj
def get(session: Session, key: str, *, as_json: bool) -> None:
    """Print the value of a key.

    \b
    Example:
      prominence kv get study/best
    """
    value = session.client.kv_get(key)
    if as_json:
        show_json({"key": key, "value": value})
    else:
        click.echo(value)


@kv.command("set")
@click.argument("key")
@click.argument("value", metavar="VALUE|FILE")
@click.pass_obj
def set_(session: Session, key: str, value: str) -> None:
    """Set a key to a value, or to the content of a file.

    A value has 1 to 15,967 bytes.

    \b
    Example:
      prominence kv set study/best 0.42
    """
    session.client.kv_set(key, _content(value))
    note(f"{key} was set")


@kv.command()
@click.option("--prefix", is_flag=True, help="Delete all keys that begin with KEY.")
@click.argument("key")
@click.pass_obj
def delete(session: Session, key: str, *, prefix: bool) -> None:
    """Delete a key; one that does not exist is no error.

    \b
    Example:
      prominence kv delete --prefix study
    """
    session.client.kv_delete(key, prefix=prefix)
    note(f"{key} was deleted")


def _content(value: str) -> str:
    try:
        return Path(value).read_text(encoding="utf-8") if Path(value).is_file() else value
    except UnicodeDecodeError as error:
        raise click.BadParameter(
            f"{value} is a file that is not text in UTF-8", param_hint="VALUE"
        ) from error
