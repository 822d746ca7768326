-- An auditor reads the log and what was issued, and nothing else; that role writes nothing.

do $$
begin
    perform pg_advisory_xact_lock(7265706174);  -- as in 0001: roles belong to the whole server
    if not exists (select from pg_roles where rolname = 'reporting_auditor') then
        create role reporting_auditor login;
    end if;
    -- Whoever made them by hand may have given them more.
    alter role reporting_owner nologin nosuperuser nocreaterole nocreatedb nobypassrls noreplication;
    alter role reporting_app nosuperuser nocreaterole nocreatedb nobypassrls noreplication;
    alter role reporting_auditor nosuperuser nocreaterole nocreatedb nobypassrls noreplication;
end $$;

grant usage on schema reporting, audit to reporting_auditor;
grant select on audit.log, reporting.issued_report, reporting.schema_version to reporting_auditor;

-- Two kinds of entry are looked up by their kind. Quotes inside a text are escaped in JSON, so that
-- no text of a body can look like these.
create index log_configuration on audit.log (seq desc)
    where position('"event":"configuration changed"'::bytea in entry) > 0;
create index log_issued on audit.log (seq desc)
    where position('"event":"report issued"'::bytea in entry) > 0;
