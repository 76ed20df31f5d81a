"""What in its recipe a job has set itself. Of jobs that have begun before, nobody knows it.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("overrides", sa.JSON(), nullable=True))
