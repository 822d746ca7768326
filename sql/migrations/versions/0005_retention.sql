-- Sign-off, legal hold and purge. A purge empties a body and keeps its row: digest, revision, times.

do $$
begin
    -- Roles belong to the whole server: another database's migration may be making them right now.
    begin
        if not exists (select from pg_roles where rolname = 'reporting_purger') then
            create role reporting_purger login;
        end if;
    exception when duplicate_object or unique_violation then
        null;
    end;
    if exists (select from pg_roles where rolname = 'reporting_purger'
               and (rolsuper or rolcreaterole or rolcreatedb or rolbypassrls or rolreplication)) then
        alter role reporting_purger nosuperuser nocreaterole nocreatedb nobypassrls noreplication;
    end if;
end $$;

-- Whoever inserts may say anything; when and as whom the server knows itself. Ages rest on this.
create function reporting.stamp() returns trigger language plpgsql set search_path = pg_catalog as $$
begin
    if tg_table_name in ('sign_off', 'legal_hold') then
        new.at := clock_timestamp();
        new.actor := session_user;
    else
        new.stored_at := clock_timestamp();
    end if;
    return new;
end $$;

-- What was there before counts from this migration.
alter table reporting.sealed_day add stored_at timestamptz not null default clock_timestamp();
alter table reporting.issued_report add stored_at timestamptz not null default clock_timestamp();
create trigger stamped before insert on reporting.sealed_day
    for each row execute function reporting.stamp();
create trigger stamped before insert on reporting.issued_report
    for each row execute function reporting.stamp();
create trigger stamped before insert on reporting.closing_book
    for each row execute function reporting.stamp();

-- ---- sign-off ----------------------------------------------------------------------------------

create table reporting.sign_off (
    kind     text not null,
    period   text not null,
    revision integer not null,
    role     text not null check (role in ('preparer', 'reviewer')),
    person   text not null check (person <> ''),
    name     text not null,
    note     text not null,
    digest   text not null,
    at       timestamptz not null,
    actor    text not null,
    primary key (kind, period, revision, role),
    foreign key (kind, period, revision) references reporting.issued_report
);
comment on table reporting.sign_off is
    'who stands for one revision; person is the operating system''s user, name what they are called';

create function reporting.check_sign_off() returns trigger
language plpgsql set search_path = pg_catalog as $$
declare
    id       text := new.kind || '/' || new.period || '/r' || new.revision;
    preparer reporting.sign_off;
    newest   integer;
begin
    select max(r.revision) into newest from reporting.issued_report r
        where r.kind = new.kind and r.period = new.period;
    if new.revision < newest then
        raise exception '% is superseded by r%', id, newest using errcode = 'check_violation';
    end if;
    if not exists (select from reporting.issued_report r where (r.kind, r.period, r.revision, r.digest)
                   = (new.kind, new.period, new.revision, new.digest)) then
        raise exception '% has other facts than those that are signed off', id
            using errcode = 'check_violation';
    end if;
    select * into preparer from reporting.sign_off s
        where (s.kind, s.period, s.revision, s.role) = (new.kind, new.period, new.revision, 'preparer');
    if new.role = 'reviewer' and preparer is null then
        raise exception '% has no preparer yet', id using errcode = 'check_violation';
    end if;
    if new.role = 'reviewer' and (preparer.person = new.person or
                                  (new.name <> '' and preparer.name = new.name)) then
        raise exception '% was prepared by % too', id, preparer.person
            using errcode = 'check_violation';
    end if;
    return new;
end $$;
create trigger checked before insert on reporting.sign_off
    for each row execute function reporting.check_sign_off();
create trigger stamped before insert on reporting.sign_off
    for each row execute function reporting.stamp();

-- ---- legal hold --------------------------------------------------------------------------------

create table reporting.legal_hold (
    entry    integer generated always as identity primary key,
    releases integer unique references reporting.legal_hold,
    kind     text,
    period   text,
    first    date,
    last     date,
    reason   text not null check (reason <> ''),
    person   text not null check (person <> ''),
    at       timestamptz not null,
    actor    text not null,
    check (num_nonnulls(kind, period) in (0, 2) and num_nonnulls(first, last) in (0, 2)),
    check (num_nonnulls(releases, kind, first) = 1),
    check (first <= last)
);
comment on table reporting.legal_hold is
    'a hold on a report or on a span of days; an entry with releases ends that hold';
create trigger stamped before insert on reporting.legal_hold
    for each row execute function reporting.stamp();

create view reporting.hold_in_force as
    select h.* from reporting.legal_hold h
    where h.releases is null
      and not exists (select from reporting.legal_hold r where r.releases = h.entry);

-- ---- purge -------------------------------------------------------------------------------------

-- A backstop behind config/retention.toml: nothing younger goes, whatever a file or a clock says.
create table reporting.retention_minimum (
    record text primary key,
    days   integer not null check (days >= 0)
);
insert into reporting.retention_minimum values
    ('daily', 730), ('weekly', 730), ('monthly', 2555), ('quarterly', 2555),
    ('sealed_day', 2555), ('closing_book', 730);

create table reporting.purged (
    record text not null,
    name   text not null,
    digest text not null,
    reason text not null,
    class  text not null,
    until  date not null,
    person text not null,
    at     timestamptz not null default clock_timestamp(),
    actor  text not null default session_user,
    primary key (record, name)
);
comment on table reporting.purged is 'what has no body any more; name as in the audit log';

-- A body may be emptied where reporting.purged says so; nothing else of the row, and no other way.
create function reporting.refuse_but_purge() returns trigger
language plpgsql set search_path = pg_catalog as $$
declare
    fields jsonb;
    found_name text;
begin
    if tg_op = 'UPDATE' and octet_length(new.body) = 0 then
        fields := to_jsonb(new);
        found_name := case tg_table_name
            when 'closing_book' then fields->>'digest'
            when 'sealed_day' then (fields->>'day') || '/r' || (fields->>'revision')
            else (fields->>'kind') || '/' || (fields->>'period') || '/r' || (fields->>'revision') end;
        old.body := new.body;
        if new is not distinct from old and exists (
            select from reporting.purged p where p.name = found_name
              and p.record = case when tg_table_name in ('closing_book', 'sealed_day')
                                  then tg_table_name else fields->>'kind' end) then
            return new;
        end if;
    end if;
    raise exception '%.% is append-only: % is refused', tg_table_schema, tg_table_name, tg_op
        using errcode = 'insufficient_privilege',
              hint = 'a change is a new revision, with a reason';
end $$;

-- Why each of items is kept; '' for what may go. Items are {"record": a report's kind, "sealed_day"
-- or "closing_book", "name": as in reporting.purged}. Reports among them that may go count as gone.
create function reporting.kept(items json) returns table (record text, name text, because text)
language sql stable set search_path = pg_catalog as $$
with asked as (
    select distinct i->>'record' as record, i->>'name' as name from json_array_elements(items) i
),
hold as (select h.*, 'held since ' || h.at::date || ' (hold ' || h.entry || '): ' || h.reason as words
         from reporting.hold_in_force h),
report as materialized (
    select r.kind, r.kind || '/' || r.period || '/r' || r.revision as name, r.period, r.revision,
           r.stored_at, (body->'period'->>'first')::date as first,
           (body->'period'->>'last')::date as last, body->'citations' as citations
    from (select kind, period, revision, stored_at, convert_from(body, 'UTF8')::json as body
          from reporting.issued_report where octet_length(body) > 0) r
),
report_kept as materialized (
    select r.*, coalesce(
        (select min(h.words) from hold h
         where (h.kind, h.period) = (r.kind, r.period) or (h.first <= r.last and h.last >= r.first)),
        (select 'younger than ' || m.days || ' days' from reporting.retention_minimum m
         where m.record = r.kind and r.stored_at > clock_timestamp() - make_interval(days => m.days)),
        case when not exists (select from asked a where a.name = r.name and a.record = r.kind)
             then 'not asked for' end) as own
    from report r
),
report_going as materialized (
    select r.*, coalesce(r.own, (
        select 'cited by ' || min(l.name) || ', which is kept' from report_kept l
        where (l.kind, l.period) = (r.kind, r.period) and l.revision > r.revision
          and l.own is not null)) as because
    from report_kept r
),
citation as materialized (
    select (c->>'day') || '/r' || (c->>'revision') as name, min(r.name) as report
    from report_going r, json_array_elements(r.citations) c
    where r.because is not null group by 1
),
day as materialized (
    select d.day || '/r' || d.revision as name, d.stored_at, coalesce(
        (select min(h.words) from hold h
         where d.day between h.first and h.last
            or exists (select from report r where (r.kind, r.period) = (h.kind, h.period)
                       and d.day between r.first and r.last)),
        (select 'younger than ' || m.days || ' days' from reporting.retention_minimum m
         where m.record = 'sealed_day'
           and d.stored_at > clock_timestamp() - make_interval(days => m.days)),
        (select 'cited by ' || c.report || ', which is kept' from citation c
         where c.name = d.day || '/r' || d.revision)) as because,
        case when exists (select from asked where asked.record = 'closing_book')
             then convert_from(d.body, 'UTF8')::json->>'closing_book' end as book, d.day
    from reporting.sealed_day d where octet_length(d.body) > 0
),
book as (
    select b.digest as name, coalesce(
        (select 'younger than ' || m.days || ' days' from reporting.retention_minimum m
         where m.record = 'closing_book'
           and b.stored_at > clock_timestamp() - make_interval(days => m.days)),
        (select 'closes day ' || min(d.name) || ', which is '
                || case when bool_or(d.because like 'held%') then 'held' else 'too young' end
         from day d, reporting.retention_minimum m
         where d.book = b.digest and m.record = 'closing_book'
           -- Days without a session have no book: the next session opens with the last one's.
           and (d.day = (select max(day) from day where book <> '')
               or d.because like 'held%'
               or d.stored_at > clock_timestamp() - make_interval(days => m.days)))) as because
    from reporting.closing_book b where octet_length(b.body) > 0
)
select a.record, a.name, case
    when k.name is null then 'not there, or purged already' else coalesce(k.because, '') end
from asked a left join (
    select r.kind as record, r.name, r.because from report_going r
    union all select 'sealed_day', d.name, d.because from day d
    union all select 'closing_book', b.name, b.because from book b
) k on (k.record, k.name) = (a.record, a.name)
$$;

-- Items as in reporting.kept, each with its "class" and its "until"; all of them go, or none.
create function reporting.purge(items json, reason text, person text) returns integer
language plpgsql security definer set search_path = pg_catalog as $$
#variable_conflict use_column
declare
    item      record;
    refusal   text;
    had       text;
    provenance text;
    of        text[];
    count     integer := 0;
begin
    if coalesce(reason, '') = '' or coalesce(person, '') = '' then
        raise exception 'a purge needs a reason and a person' using errcode = 'check_violation';
    end if;
    -- Nobody holds, issues or signs off between the check and the end of this transaction.
    lock table reporting.legal_hold, reporting.issued_report, reporting.sealed_day,
               reporting.closing_book in share row exclusive mode;
    select string_agg(k.name || ' is ' || k.because, '; ' order by k.name) into refusal
        from reporting.kept(items) k where k.because <> '';
    if refusal is not null then
        raise exception 'purge refused: %', refusal using errcode = 'check_violation';
    end if;
    for item in
        select distinct on (i->>'record', i->>'name') i->>'record' as record, i->>'name' as name,
               i->>'class' as class, (i->>'until')::date as until
        from json_array_elements(items) i
    loop
        if item.class is null or item.until is null or item.until > (now() at time zone 'UTC')::date then
            raise exception 'purge refused: % is to be kept until %', item.name, item.until
                using errcode = 'check_violation';
        end if;
        provenance := '';
        of := string_to_array(item.name, '/');
        if item.record = 'sealed_day' then
            select d.digest into had from reporting.sealed_day d
                where d.day = of[1]::date and d.revision = substr(of[2], 2)::integer;
        elsif item.record = 'closing_book' then
            had := item.name;
        else
            select r.digest, encode(sha256(r.provenance), 'hex') into had, provenance
                from reporting.issued_report r where r.kind = of[1] and r.period = of[2]
                and r.revision = substr(of[3], 2)::integer;
        end if;
        insert into reporting.purged (record, name, digest, reason, class, until, person)
            values (item.record, item.name, had, reason, item.class, item.until, person);
        if item.record = 'sealed_day' then
            update reporting.sealed_day d set body = ''
                where d.day = of[1]::date and d.revision = substr(of[2], 2)::integer;
        elsif item.record = 'closing_book' then
            update reporting.closing_book b set body = '' where b.digest = had;
        else
            update reporting.issued_report r set body = '' where r.kind = of[1] and r.period = of[2]
                and r.revision = substr(of[3], 2)::integer;
            update reporting.signed_part s set body = '' where s.kind = of[1] and s.period = of[2]
                and s.revision = substr(of[3], 2)::integer;
        end if;
        -- Keys in canonical order, as in audit.append.
        perform audit.append_any(
            case item.record when 'sealed_day' then 'day purged' when 'closing_book' then 'book purged'
                             else 'report purged' end,
            '{"by":' || to_json(person) || ',"class":' || to_json(item.class)
            || case item.record
                   when 'sealed_day' then ',"day":' || to_json(of[1]) || ',"digest":' || to_json(had)
                   when 'closing_book' then ',"digest":' || to_json(had)
                   else ',"facts":' || to_json(had) || ',"provenance":' || to_json(provenance) end
            || ',"reason":' || to_json(reason)
            || case item.record
                   when 'sealed_day' then ',"revision":' || substr(of[2], 2)
                   when 'closing_book' then ''
                   else ',"report":' || to_json(item.name) end
            || ',"until":' || to_json(item.until::text) || '}');
        count := count + 1;
    end loop;
    return count;
end $$;

-- Only a purge says that something was purged: the service's role can't claim it.
alter function audit.append(text, text) rename to append_any;
revoke all on function audit.append_any(text, text) from public, reporting_app;
create function audit.append(event text, body text)
returns table (seq bigint, chain_hash bytea)
language plpgsql security definer set search_path = pg_catalog as $$
begin
    if event in ('report purged', 'day purged', 'book purged') then
        raise exception '% is logged by reporting.purge alone', event
            using errcode = 'insufficient_privilege';
    end if;
    return query select a.seq, a.chain_hash from audit.append_any(event, body) a;
end $$;
alter function audit.append(text, text) owner to reporting_owner;
revoke all on function audit.append(text, text) from public;
grant execute on function audit.append(text, text) to reporting_app;

do $$
declare
    target text;
begin
    foreach target in array array['reporting.closing_book', 'reporting.sealed_day',
                                  'reporting.issued_report', 'reporting.signed_part'] loop
        execute format('drop trigger append_only on %s', target);
        execute format('create trigger append_only before update or delete on %s
                        for each row execute function reporting.refuse_but_purge()', target);
    end loop;
    foreach target in array array['reporting.sign_off', 'reporting.legal_hold', 'reporting.purged'] loop
        execute format('alter table %s owner to reporting_owner', target);
        execute format('create trigger append_only before update or delete on %s
                        for each row execute function reporting.refuse_change()', target);
        execute format('create trigger never_truncated before truncate on %s
                        for each statement execute function reporting.refuse_change()', target);
        execute format('grant select on %s to reporting_app, reporting_auditor', target);
    end loop;
end $$;
alter table reporting.retention_minimum owner to reporting_owner;
alter view reporting.hold_in_force owner to reporting_owner;
grant select on reporting.retention_minimum, reporting.hold_in_force
    to reporting_app, reporting_auditor;
grant insert on reporting.sign_off, reporting.legal_hold to reporting_app;
alter function reporting.purge(json, text, text) owner to reporting_owner;
revoke all on function reporting.purge(json, text, text) from public;
grant execute on function reporting.purge(json, text, text) to reporting_purger;
grant usage on schema reporting to reporting_purger;
