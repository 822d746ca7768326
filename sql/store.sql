-- name: latest_day
-- The newest revision of one day.
select day, revision, digest, body, known_at, sealed_at, reason
from reporting.sealed_day where day = :day order by revision desc limit 1;

-- name: latest_days
-- The newest revision of every day in a range.
select distinct on (day) day, revision, digest, body, known_at, sealed_at, reason
from reporting.sealed_day where day between :first and :last
order by day, revision desc;

-- name: superseded_days
-- The revisions but the newest one of every day in a range.
select day, revision, digest, body, known_at, sealed_at, reason
from reporting.sealed_day s
where day between :first and :last
  and exists (
      select from reporting.sealed_day later
      where later.day = s.day and later.revision > s.revision
  )
order by day, revision;

-- name: day_index
-- Which days are sealed, without their bodies.
select day, max(revision) as revision, max(known_at) as known_at
from reporting.sealed_day group by day order by day;

-- name: day_revisions
-- All revisions of a day.
select day, revision, digest, body, known_at, sealed_at, reason
from reporting.sealed_day where day = :day order by revision;

-- name: day_revision
-- One revision of a day.
select day, revision, digest, body, known_at, sealed_at, reason
from reporting.sealed_day where day = :day and revision = :revision;

-- name: known_until
-- Until when everything recorded has been taken into account.
select max(known_at) as known_at from reporting.sealed_day;

-- name: add_day!
-- Append one revision; a second writer of the same revision adds no row, and is told so.
insert into reporting.sealed_day (day, revision, digest, body, known_at, sealed_at, reason)
values (:day, :revision, :digest, :body, :known_at, :sealed_at, :reason)
on conflict do nothing;

-- name: closing_book
-- A closing book by its digest.
select body from reporting.closing_book where digest = :digest;

-- name: add_closing_book!
-- Equal books are stored once.
insert into reporting.closing_book (digest, body) values (:digest, :body)
on conflict (digest) do nothing;

-- name: latest_report
-- The newest revision of one report.
select kind, period, revision, digest, body, provenance, issued_at, reason
from reporting.issued_report where kind = :kind and period = :period
order by revision desc limit 1;

-- name: report_revision
-- One revision of a report.
select kind, period, revision, digest, body, provenance, issued_at, reason
from reporting.issued_report
where kind = :kind and period = :period and revision = :revision;

-- name: report_index
-- Which reports were issued.
select kind, period, max(revision) as revision, max(issued_at) as issued_at
from reporting.issued_report group by kind, period order by kind, period;

-- name: add_report!
-- Append one revision of a report.
insert into reporting.issued_report
    (kind, period, revision, digest, body, provenance, issued_at, reason)
values (:kind, :period, :revision, :digest, :body, :provenance, :issued_at, :reason)
on conflict do nothing;

-- name: add_signed_part!
-- Append what a signature added to one file of a report.
insert into reporting.signed_part (kind, period, revision, name, body)
values (:kind, :period, :revision, :name, :body);

-- name: signed_parts
-- What its signature added to the files of one report.
select name, body from reporting.signed_part
where kind = :kind and period = :period and revision = :revision order by name;

-- name: lock_log
-- Nobody else appends until this transaction ends: what is looked up now is still so when appended.
select pg_advisory_xact_lock(6175646974);

-- name: append_log
-- The only way into the audit log.
select seq, chain_hash from audit.append(:event, :body);

-- name: log_head
-- Size and chain hash of the log.
select seq, chain_hash from audit.log order by seq desc limit 1;

-- name: log_entries
-- The log in order, from an entry on.
select seq, entry, prev_hash, leaf_hash, chain_hash from audit.log
where seq > :after order by seq limit :most;

-- name: log_span
-- Numbers of the first and the last entry.
select min(seq) as first, max(seq) as last from audit.log;

-- name: log_part
-- A range of the log in blocks of 64 rows: the entries joined by newlines (canonical JSON has none),
-- each row's number as 8 bytes with its three hashes of 32, and whether they all are of 32. One value
-- for the whole range costs the server twice as much, a row for each entry costs the reader more.
select block.entries, case when block.whole then block.hashes end as hashes
from generate_series(:first::bigint, :last::bigint, 64) start,
     lateral (
         select string_agg(entry, '\x0a'::bytea order by seq) as entries,
                string_agg(int8send(seq) || prev_hash || leaf_hash || chain_hash,
                           ''::bytea order by seq) as hashes,
                bool_and(octet_length(prev_hash) = 32 and octet_length(leaf_hash) = 32) as whole
         from audit.log where seq between start and least(start + 63, :last)
     ) block;

-- name: log_range
-- The same range row by row.
select seq, entry, prev_hash, leaf_hash, chain_hash from audit.log
where seq between :first and :last order by seq;

-- name: log_leaves
-- Leaf hashes of a range, joined in order.
select string_agg(leaf_hash, ''::bytea order by seq)
from audit.log where seq between :first and :last;

-- name: configuration_entry
-- The newest entry that says which policy and settings are in use.
select entry from audit.log
where position('"event":"configuration changed"'::bytea in entry) > 0
order by seq desc limit 1;

-- name: issued_in_log
-- Entries that say that a report was issued, the newest first.
select seq, entry from audit.log
where position('"event":"report issued"'::bytea in entry) > 0
order by seq desc;

-- name: key_changes
-- Entries that say that the key of checkpoints changed.
select seq, entry from audit.log
where position('"event":"checkpoint key changed"'::bytea in entry) > 0 order by seq;

-- name: may_append
-- Whether the current role may write to the log.
select has_function_privilege('audit.append(text, text)', 'execute') as may;

-- name: may_rewrite
-- Whether the current role could change the past (as an owner or a superuser can).
select bool_or(has_table_privilege(name, privilege)) as may
from unnest(array['audit.log', 'reporting.sealed_day', 'reporting.closing_book',
                  'reporting.issued_report', 'reporting.signed_part', 'reporting.incident',
                  'reporting.incident_import', 'reporting.sign_off', 'reporting.legal_hold',
                  'reporting.purged']) name,
     unnest(array['update', 'delete', 'truncate']) privilege
union all
select has_function_privilege('reporting.purge(json, text, text)', 'execute')
order by may desc limit 1;

-- name: add_sign_off
-- A person stands for one revision; the server's clock says when.
insert into reporting.sign_off (kind, period, revision, role, person, name, note, digest)
values (:kind, :period, :revision, :role, :person, :name, :note, :digest)
returning at;

-- name: sign_offs
-- Sign-offs of every revision of one report, or of all reports.
select kind, period, revision, role, person, name, note, at from reporting.sign_off
where :kind = '' or (kind = :kind and period = :period)
order by kind, period, revision, role;

-- name: open_for_review
-- The newest revision of every report that not both have signed off, and who has.
select r.kind, r.period, r.revision,
       array(select s.role from reporting.sign_off s
             where (s.kind, s.period, s.revision) = (r.kind, r.period, r.revision)) as signed
from (select distinct on (kind, period) kind, period, revision, octet_length(body) as bytes
      from reporting.issued_report order by kind, period, revision desc) r
where r.bytes > 0 and (select count(*) from reporting.sign_off s
       where (s.kind, s.period, s.revision) = (r.kind, r.period, r.revision)) < 2
order by r.kind, r.period;

-- name: reviews
-- Daily reports of a span as they were at a moment: the newest revision, and by how many people it
-- was signed off then. What happens later changes nothing in the answer.
select r.name as report, (
    select count(distinct s.person) from reporting.sign_off s
    where (s.kind, s.period, s.revision) = (r.kind, r.period, r.revision) and s.at <= :by) as people
from (
    select distinct on (period) kind, period, revision, kind || '/' || period || '/r' || revision as name
    from reporting.issued_report
    where kind = 'daily' and period::date between :first and :last and issued_at <= :by
    order by period, revision desc
) r order by 1;

-- name: add_hold
-- A hold on a report or a span of days, or the release of one.
insert into reporting.legal_hold (releases, kind, period, first, last, reason, person)
values (:releases, :kind, :period, :first, :last, :reason, :person)
returning entry;

-- name: holds
-- Every hold, with its release where there is one.
select h.entry, h.kind, h.period, h.first, h.last, h.reason, h.person, h.at,
       r.at as released_at, r.person as released_by, r.reason as released_because
from reporting.legal_hold h left join reporting.legal_hold r on r.releases = h.entry
where h.releases is null order by h.entry;

-- name: records
-- Everything that has a body, with the moment from which its retention runs.
select kind as record, kind || '/' || period || '/r' || revision as name, issued_at as since
from reporting.issued_report where octet_length(body) > 0
union all
select 'sealed_day', day || '/r' || revision, sealed_at
from reporting.sealed_day where octet_length(body) > 0
union all
select 'closing_book', digest, stored_at from reporting.closing_book where octet_length(body) > 0
order by record, name;

-- name: kept
-- Why each of some records is kept, '' where it may go: the rules that the purge itself applies.
select record, name, because from reporting.kept(:items::json) order by record, name;

-- name: purge
-- All of the items or none; the audit log's entries are written with it.
select reporting.purge(:items::json, :reason, :person) as purged;

-- name: purged
-- What was purged, with its digest.
select record, name, digest, reason, class, until, person, at from reporting.purged
order by record, name;
