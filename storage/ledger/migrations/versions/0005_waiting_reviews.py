"""Images that gates refused, decisions by the item's name, and the bursts that wait for decisions.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if sa.inspect(op.get_bind()).has_table("waits"):
        return  # for some commits 0004 did all of this: a ledger of theirs has it
    op.add_column("items", sa.Column("refused_image", sa.String(), nullable=True))
    op.add_column("items", sa.Column("refused_by", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("review", sa.String(), nullable=False, server_default="end"))
    _name_the_items_of_reviews()
    op.create_table(
        "waits",
        sa.Column("flow_run_id", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_waits_jobs", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("flow_run_id", name="pk_waits"),
    )
    op.create_index("ix_waits_job_id", "waits", ["job_id"])


def _name_the_items_of_reviews() -> None:
    """Decisions were kept by the item's index, which changes when a job's items come in another order."""
    decided = sa.text(
        "SELECT reviews.job_id, items.name AS item, fingerprint, verdict, reason, reviewer, reviewed_at"
        ' FROM reviews JOIN items ON items.job_id = reviews.job_id AND items."index" = reviews."index"'
    ).columns(reviewed_at=sa.DateTime(timezone=True))
    rows = [dict(row) for row in op.get_bind().execute(decided).mappings()]
    op.drop_table("reviews")
    reviews = op.create_table(
        "reviews",
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("item", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("reviewer", sa.Text(), nullable=True),
        sa.Column("reviewed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_reviews_jobs", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "item", "fingerprint", name="pk_reviews"),
    )
    op.bulk_insert(reviews, rows)
