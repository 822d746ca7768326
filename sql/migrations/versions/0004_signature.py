"""What the signature of a report added to its files."""

from pathlib import Path

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Run the SQL text beside this file."""
    text = Path(__file__).with_suffix(".sql").read_text("utf-8")
    with op.get_bind().connection.cursor() as cursor:
        cursor.execute(text)  # by the driver's own cursor: "%" in the text is not a parameter


def downgrade() -> None:
    """What was recorded is never removed."""
    raise NotImplementedError("signatures are append-only: restore a backup instead")
