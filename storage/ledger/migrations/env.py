"""Alembic's entry point: migrations in the caller's connection and transaction."""

from alembic import context

from storage.ledger.tables import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    render_as_batch=True,  # SQLite can alter little: tables are copied instead
)
context.run_migrations()
