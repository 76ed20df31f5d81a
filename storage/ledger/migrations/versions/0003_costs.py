"""What images and model loads cost, and what a job may cost.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("budget", sa.Float(), nullable=True))
    for table in ("step_runs", "model_loads"):
        op.add_column(table, sa.Column("cost", sa.Float(), nullable=False, server_default="0"))
