"""A schedule that changes loses no report; what a person waived, or wanted quiet, stays so."""

from pathlib import Path

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Run the SQL text beside this file."""
    text = Path(__file__).with_suffix(".sql").read_text("utf-8")
    with op.get_bind().connection.cursor() as cursor:
        cursor.execute(text)  # by the driver's own cursor: "%" in the text is not a parameter


def downgrade() -> None:
    """Nothing sealed is ever removed."""
    raise NotImplementedError("sealed facts are append-only: restore a backup instead")
