#!/usr/bin/env bash
# Who may log in, once, when compose's PostgreSQL is made: each role what its service needs, and over
# TLS only. What reporting_app and reporting_dashboard may do, the migrations say.
set -euo pipefail

psql=(psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB")
"${psql[@]}" --file "${ROLES_FILE:-/run/secrets/postgres_roles}"
"${psql[@]}" <<'SQL'
-- The ledger is read and never written.
alter role reporting_ledger set default_transaction_read_only = on;
grant usage on schema ledger to reporting_ledger;
grant select on all tables in schema ledger to reporting_ledger;
alter default privileges in schema ledger grant select on tables to reporting_ledger;

grant pg_monitor to reporting_monitor;
alter role reporting_monitor set default_transaction_read_only = on;
alter role reporting_monitor connection limit 5;
alter role reporting_dashboard connection limit 20;
SQL

# Nobody gets in without TLS but over the container's own socket.
sed -i -E 's/^host([[:space:]]+all[[:space:]]+all[[:space:]]+all[[:space:]])/hostssl\1/' "$PGDATA/pg_hba.conf"
