-- The store: append-only, written by a role that can not change what it wrote.

do $$
begin
    -- Roles belong to the whole server, so another database's migration may have made them.
    perform pg_advisory_xact_lock(7265706174);
    if not exists (select from pg_roles where rolname = 'reporting_owner') then
        create role reporting_owner nologin;
    end if;
    if not exists (select from pg_roles where rolname = 'reporting_app') then
        create role reporting_app login;
    end if;
end $$;

create schema if not exists reporting;
create schema audit;
grant usage on schema reporting, audit to reporting_app;

create function reporting.refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '%.% is append-only: % is refused', tg_table_schema, tg_table_name, tg_op
        using errcode = 'insufficient_privilege',
              hint = 'a change is a new revision, with a reason';
end $$;

-- The book at the end of a session: what the next session opens with.
create table reporting.closing_book (
    digest    text primary key,
    body      bytea not null,
    stored_at timestamptz not null default clock_timestamp()
);
comment on table reporting.closing_book is 'open lots and cash by content digest (sha256 of body)';

create table reporting.sealed_day (
    day       date not null,
    revision  integer not null check (revision >= 1),
    digest    text not null unique,
    body      bytea not null,
    known_at  timestamptz not null,
    sealed_at timestamptz not null,
    reason    text not null,
    primary key (day, revision)
);
comment on table reporting.sealed_day is 'canonical facts of one day; a late fill appends a revision';

create table reporting.issued_report (
    kind       text not null,
    period     text not null,
    revision   integer not null check (revision >= 1),
    digest     text not null,
    body       bytea not null,
    provenance bytea not null,
    issued_at  timestamptz not null,
    reason     text not null,
    primary key (kind, period, revision)
);
comment on table reporting.issued_report is 'documents as issued: the source of any regeneration';

-- seq is gapless: a sequence would leave gaps on rollback.
create table audit.log (
    seq        bigint primary key,
    entry      bytea not null,
    prev_hash  bytea not null,
    leaf_hash  bytea not null,
    chain_hash bytea not null
);
comment on table audit.log is 'hash chain over RFC 8785 entries; written by audit.append only';

-- body is canonical JSON text; the keys around it stand in canonical order and to_json escapes as
-- RFC 8785 does, so that the whole entry is canonical too.
create function audit.append(event text, body text)
returns table (seq bigint, chain_hash bytea)
language plpgsql security definer set search_path = pg_catalog as $$
declare
    last_seq  bigint := 0;
    last_hash bytea := decode(repeat('00', 32), 'hex');
    new_entry bytea;
    leaf      bytea;
begin
    perform body::json;  -- jsonb would refuse an escaped NUL, which JSON allows
    perform pg_advisory_xact_lock(6175646974);
    select l.seq, l.chain_hash into last_seq, last_hash
        from audit.log l order by l.seq desc limit 1;
    if not found then
        last_seq := 0;
        last_hash := decode(repeat('00', 32), 'hex');
    end if;
    new_entry := convert_to(
        '{"actor":' || to_json(session_user::text)
        || ',"at":"' || to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        || '","body":' || body
        || ',"event":' || to_json(event)
        || ',"seq":' || (last_seq + 1)
        || '}', 'UTF8');
    leaf := sha256('\x00'::bytea || new_entry);
    insert into audit.log
        values (last_seq + 1, new_entry, last_hash, leaf, sha256('\x02'::bytea || last_hash || leaf));
    return query select l.seq, l.chain_hash from audit.log l where l.seq = last_seq + 1;
end $$;

do $$
declare
    target text;
begin
    foreach target in array array['reporting.closing_book', 'reporting.sealed_day',
                                  'reporting.issued_report', 'audit.log'] loop
        execute format('alter table %s owner to reporting_owner', target);
        execute format('create trigger append_only before update or delete on %s
                        for each row execute function reporting.refuse_change()', target);
        execute format('create trigger never_truncated before truncate on %s
                        for each statement execute function reporting.refuse_change()', target);
        execute format('grant select on %s to reporting_app', target);
    end loop;
end $$;
grant insert on reporting.closing_book, reporting.sealed_day, reporting.issued_report to reporting_app;
grant usage on schema reporting, audit to reporting_owner;
alter function audit.append(text, text) owner to reporting_owner;
revoke all on function audit.append(text, text) from public;
grant execute on function audit.append(text, text) to reporting_app;
grant select on reporting.schema_version to reporting_app;
