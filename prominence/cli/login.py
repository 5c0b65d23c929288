"""``prominence login`` and ``prominence register``: access to a service, by its identity provider."""

from __future__ import annotations

import click

from prominence.client import auth


@click.command()
def login() -> None:
    """Log in: open the address that is shown, enter the code, and approve.

    The token is kept in ~/.prominence/token; programs that wait for jobs take it up. PROMINENCE_OIDC_URL is
    the address of the identity provider.
    """
    auth.login(show=click.echo)
    click.echo("Logged in.")


@click.command()
def register() -> None:
    """Register a client at the identity provider, in place of an earlier one.

    `prominence login` does so when it is needed for the first time.
    """
    client = auth.register()
    click.echo(f"Registered as {client.client_id}.")
