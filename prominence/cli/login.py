"""``prominence login`` and ``prominence register``: access to a service, by its identity provider."""

from __future__ import annotations

import click

from prominence.client import auth


@click.command()
def login() -> None:
    """Log in: open an address, enter a code, approve.

    The token is kept in ~/.prominence/token; programs that wait for jobs take it up. PROMINENCE_OIDC_URL is
    the address of the identity provider.

    \b
    Example:
      export PROMINENCE_OIDC_URL=https://login.example
      prominence login
    """
    auth.login(show=click.echo)
    click.echo("Logged in.")


@click.command()
def register() -> None:
    """Register a client at the identity provider.

    It takes the place of an earlier one. `prominence login` does so when it is needed for the first time.

    \b
    Example:
      prominence register
    """
    client = auth.register()
    click.echo(f"Registered as {client.client_id}.")
