"""Alembic's entry: migrations run on the connection that reporting.postgres hands in."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    version_table="schema_version",
    version_table_schema="reporting",
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
