"""Columns under the terms that the program uses.

Revision ID: 0007
Revises: 0006
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_NAMES = (
    ("step_runs", "step_id", "visit"),
    ("batch_sizes", "relief", "fallback"),
    ("leases", "holder", "owner"),
    ("leases", "beat", "heartbeat"),
)


def upgrade() -> None:
    for table, former, name in _NAMES:
        # One statement on both databases, where Alembic would copy SQLite's whole table.
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {former} TO {name}")
