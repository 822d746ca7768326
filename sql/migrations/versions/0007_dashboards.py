"""What dashboards read: tidy rows of what is sealed and issued, and a role that sees no more."""

from pathlib import Path

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Run the SQL text beside this file."""
    text = Path(__file__).with_suffix(".sql").read_text("utf-8")
    with op.get_bind().connection.cursor() as cursor:
        cursor.execute(text)  # by the driver's own cursor: "%" in the text is not a parameter


def downgrade() -> None:
    """A migration is never taken back."""
    raise NotImplementedError("roles and grants are not taken back: restore a backup")
