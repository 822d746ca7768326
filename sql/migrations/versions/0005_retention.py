"""Sign-off of reports, legal holds, and a purge that keeps the digests."""

from pathlib import Path

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Run the SQL text beside this file."""
    text = Path(__file__).with_suffix(".sql").read_text("utf-8")
    with op.get_bind().connection.cursor() as cursor:
        cursor.execute(text)  # by the driver's own cursor: "%" in the text is not a parameter


def downgrade() -> None:
    """What was recorded is never removed."""
    raise NotImplementedError("sign-offs, holds and purges are append-only: restore a backup")
