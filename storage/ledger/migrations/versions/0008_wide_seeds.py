"""Whether the seeds of an item's further attempts have 63 bits: until now all had.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("items", sa.Column("wide_seeds", sa.Boolean(), nullable=False, server_default=sa.true()))
