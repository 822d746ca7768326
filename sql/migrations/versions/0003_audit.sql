-- An auditor reads the log and what was issued, and nothing else; that role writes nothing.

do $$
declare
    name text;
begin
    -- Roles belong to the whole server: another database's migration may be making them right now,
    -- and a lock of this database does not keep it out.
    begin
        if not exists (select from pg_roles where rolname = 'reporting_auditor') then
            create role reporting_auditor login;
        end if;
    exception when duplicate_object or unique_violation then
        null;
    end;
    -- Whoever made one by hand may have given it more. Only then: two changes at once are refused.
    for name in
        select rolname from pg_roles
        where rolname in ('reporting_owner', 'reporting_app', 'reporting_auditor')
          and (rolsuper or rolcreaterole or rolcreatedb or rolbypassrls or rolreplication
               or (rolname = 'reporting_owner' and rolcanlogin))
    loop
        execute format('alter role %I nosuperuser nocreaterole nocreatedb nobypassrls '
                       'noreplication', name);
        if name = 'reporting_owner' then
            alter role reporting_owner nologin;
        end if;
    end loop;
end $$;

grant usage on schema reporting, audit to reporting_auditor;
grant select on audit.log, reporting.issued_report, reporting.schema_version to reporting_auditor;

-- Two kinds of entry are looked up by their kind. Quotes inside a text are escaped in JSON, so that
-- no text of a body can look like these.
create index log_configuration on audit.log (seq desc)
    where position('"event":"configuration changed"'::bytea in entry) > 0;
create index log_issued on audit.log (seq desc)
    where position('"event":"report issued"'::bytea in entry) > 0;
