"""Growth costs nothing: mails counted as they are settled, rare events of the log by an index."""

from pathlib import Path

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Run the SQL text beside this file."""
    text = Path(__file__).with_suffix(".sql").read_text("utf-8")
    with op.get_bind().connection.cursor() as cursor:
        cursor.execute(text)  # by the driver's own cursor: "%" in the text is not a parameter


def downgrade() -> None:
    """Nothing sealed is ever removed."""
    raise NotImplementedError("sealed facts are append-only: restore a backup instead")
