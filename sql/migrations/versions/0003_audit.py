"""An auditor's role, and indexes of the entries that are looked up by what they say."""

from pathlib import Path

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Run the SQL text beside this file."""
    text = Path(__file__).with_suffix(".sql").read_text("utf-8")
    with op.get_bind().connection.cursor() as cursor:
        cursor.execute(text)  # by the driver's own cursor: "%" in the text is not a parameter


def downgrade() -> None:
    """The log is never less readable than it was."""
    raise NotImplementedError("the audit log is append-only: restore a backup instead")
