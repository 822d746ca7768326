-- name: clock
-- The one clock of all replicas.
select clock_timestamp() as at;

-- name: reconciled
-- Up to when expected runs were written down; other replicas wait for this transaction.
select until from reporting.reconciled for update;

-- name: reconciled_to!
-- It never goes back.
insert into reporting.reconciled (until) values (:until)
on conflict (only_one) do update set until = greatest(reconciled.until, excluded.until);

-- name: scheduled
-- The reports of the schedule, and from which due time on each is expected.
select name, since from reporting.scheduled where name = any(:names);

-- name: schedule_since!
-- New ones, and those that nobody had for a day while others looked, from a due time on. Replicas may
-- have another schedule for a while.
insert into reporting.scheduled as s (name, since, seen_at)
select name, :since, clock_timestamp() from unnest(cast(:names as text[])) as new (name)
on conflict (name) do update
set since = case when s.seen_at < :since - interval '1 day' then excluded.since else s.since end,
    seen_at = excluded.seen_at
where s.seen_at < clock_timestamp() - interval '10 min';

-- name: agreed
-- For how long all who looked have had this schedule: what one of them does not know another may.
update reporting.reconciled
set agreed_at = case when schedule = :schedule then agreed_at else clock_timestamp() end,
    schedule = :schedule
returning coalesce(extract(epoch from clock_timestamp() - agreed_at), 0)::float8 as agreed_s;

-- name: agrees
-- Whether who looked last has this schedule; as long as nobody looked, everybody agrees.
select schedule in ('', :schedule) as agrees from reporting.reconciled;

-- name: dismiss
-- Mails to whom the schedule does not know any more.
update reporting.outbox
set state = 'failed', settled_at = clock_timestamp(), words = 'the schedule has no such recipient'
where state = 'queued' and not recipient = any(:recipients)
  and (leased_until is null or leased_until < clock_timestamp())
returning id, kind, period, revision, recipient, message_id, code, words;

-- name: unissued
-- Runs that nothing was issued for and nobody is at.
select key, due_at, deadline_at from reporting.run
where state in ('expected', 'failed', 'withdrawn') and revision is null and due_at > :after
  and (leased_until is null or leased_until < clock_timestamp());

-- name: reschedule!
-- It is due at another time now, or may take longer.
update reporting.run set due_at = :due_at, deadline_at = :deadline_at
where key = :key and revision is null and (leased_until is null or leased_until < clock_timestamp());

-- name: not_written
-- Those of :keys of which there is no run, nor another one of the same report and period, as a report
-- has that changed its calendar.
with absent as materialized (
    select w.* from unnest(cast(:keys as text[]), cast(:reports as text[]), cast(:periods as text[]))
        as w (key, report, period)
    where not exists (select from reporting.run r where r.key = w.key))
select a.key from absent a where not exists (
    select from reporting.run r
    where r.report = a.report and r.period = a.period and r.state <> 'withdrawn');

-- name: expect!
-- A run that is expected, once.
insert into reporting.run
    (key, report, kind, period, day, first, last, due_at, deadline_at, next_at, state, quiet, by_hand,
     because)
values (:key, :report, :kind, :period, :day, :first, :last, :due_at, :deadline_at, :due_at, :state,
        :quiet, :by_hand, :because)
on conflict (key) do nothing;

-- name: miss
-- Runs that are too old to be caught up with.
update reporting.run
set state = 'missed', because = 'not issued within the time for catching up'
where state = 'expected' and revision is null and greatest(due_at, wanted_at) < :before
  and (leased_until is null or leased_until < clock_timestamp())
returning key, due_at;

-- name: withdraw
-- Runs that were due after :after of which the schedule knows nothing any more: a closure was added,
-- a report taken out. What nobody has begun is given up.
update reporting.run
set state = 'withdrawn', because = 'the schedule no longer expects it'
where state in ('expected', 'failed') and revision is null and due_at > :after and due_at <= :until
  and not key = any(:keys) and (leased_until is null or leased_until < clock_timestamp())
returning key;

-- name: restore
-- Those that it expects again.
update reporting.run
set state = 'expected', because = 'the schedule expects it again', next_at = clock_timestamp(),
    attempts = 0, takes = 0, failures = 0
where state = 'withdrawn' and key = any(:keys)
returning key;

-- name: settle
-- Mails that were being sent by somebody whose lease ended: nobody knows what became of them.
update reporting.outbox
set state = 'unknown', holder = '', leased_until = null, settled_at = clock_timestamp(),
    attempts = attempts + 1, takes = 0,
    words = 'whoever sent it stopped before the answer was known'
where state = 'sending' and leased_until < clock_timestamp()
returning id, kind, period, revision, recipient, message_id, code, words;

-- name: give_up
-- Mails that are past their time and at which workers died again and again: nobody is left to say so.
update reporting.outbox
set state = 'failed', settled_at = clock_timestamp(),
    words = 'it was taken ' || takes || ' times, and whoever made it died each time'
where state = 'queued' and takes > 9 and give_up_at < clock_timestamp()
  and (leased_until is null or leased_until < clock_timestamp())
returning id, kind, period, revision, recipient, message_id, code, words;

-- name: tally!
-- So many attempts came to an end. Written last in a transaction: others wait for it.
insert into reporting.mail_tally as t (outcome, tries) values (:outcome, :tries)
on conflict (outcome) do update set tries = t.tries + excluded.tries;

-- name: resend_unknown
-- Where policy would rather have a mail twice than not at all: once more, and it says so.
update reporting.outbox
set state = 'queued', duplicate = true, next_at = clock_timestamp(), settled_at = null,
    queued_at = clock_timestamp()
where state = 'unknown' and unknown = 'resend' and not duplicate
returning id, kind, period, revision, recipient, message_id, code, words;

-- name: reopen!
-- Issued reports, those with gaps too, of days that were restated since they were drafted: half a
-- minute before, since a day may have been on its way into the store then.
update reporting.run r
set state = 'expected', next_at = clock_timestamp(), attempts = 0, failures = 0,
    because = 'a day of its period was restated'
where r.state in ('issued', 'incomplete') and r.due_at > :since and r.report = any(:reports)
  and (r.leased_until is null or r.leased_until < clock_timestamp()) and exists (
    select from reporting.sealed_day d
    where d.day between r.first and r.last and d.revision > 1
      and d.stored_at > r.drafted_at - interval '30 s');

-- name: take_run
-- The run that has been due for longest and that nobody works on, of a report that the taker knows. Of
-- one report in order: none is begun while an earlier one is still to be issued for the first time. What
-- was put back ten times, or killed its workers, keeps none waiting. What is asked for by hand, or again,
-- comes after what is due by itself.
with picked as (
    select key from reporting.run r
    where state in ('expected', 'incomplete') and next_at <= clock_timestamp()
      and (leased_until is null or leased_until < clock_timestamp()) and report = any(:reports)
      and not exists (
          select from reporting.run e
          where e.report = r.report and e.due_at < r.due_at and e.state in ('expected', 'incomplete')
            and (e.state = 'expected' and e.revision is null and not e.by_hand
                 and e.takes <= 9 and e.attempts <= 9
                 or e.by_hand = r.by_hand and e.leased_until > clock_timestamp()))
    order by takes > 9, by_hand, revision is not null, due_at, key limit 1
    for update skip locked)
update reporting.run r
set fence = r.fence + 1, holder = :holder, takes = r.takes + 1,
    leased_until = clock_timestamp() + make_interval(secs => :lease_s)
from picked where r.key = picked.key
returning r.key, r.report, r.kind, r.period, r.day, r.first, r.last, r.due_at, r.deadline_at,
    r.state, r.quiet, r.attempts, r.failures, r.fence, r.seen, r.revision, r.reason;

-- name: renew_run!
-- For as long again, while it is still ours.
update reporting.run set leased_until = clock_timestamp() + make_interval(secs => :lease_s)
where key = :key and fence = :fence and leased_until > clock_timestamp();

-- name: hold_run
-- Nobody else can take it until this transaction ends.
select key from reporting.run
where key = :key and fence = :fence and leased_until > clock_timestamp() for update;

-- name: finish_run!
-- Issued, in full or with gaps.
update reporting.run
set state = :state, revision = :revision, issued_at = clock_timestamp(), next_at = :next_at,
    holder = '', leased_until = null, because = :because, attempts = 0, takes = 0,
    failures = 0, by_hand = false, quiet = quiet and not exists (
        select from reporting.outbox o
        where o.kind = run.kind and o.period = run.period and o.recipient = any(:recipients)),
    reason = '', drafted_at = :drafted_at,
    closes = closes + (:closing_s > 0)::integer, closing_s = closing_s + :closing_s,
    issues = issues + 1, issuing_s = issuing_s + :issuing_s
where key = :key and fence = :fence and leased_until > clock_timestamp();

-- name: put_back!
-- For later: what it waits for, or what failed.
update reporting.run
set state = :state, next_at = clock_timestamp() + make_interval(secs => :after_s), holder = '',
    leased_until = null, because = :because, seen = :seen, takes = 0,
    attempts = attempts + :attempts, failures = failures + :failures
where key = :key and fence = :fence and leased_until > clock_timestamp();

-- name: take_lease
-- A right that only one has; whoever has it already gets it anew.
insert into reporting.lease (name, fence, holder, leased_until)
values (:name, 1, :holder, clock_timestamp() + make_interval(secs => :lease_s))
on conflict (name) do update
set fence = lease.fence + 1, holder = excluded.holder, leased_until = excluded.leased_until
where lease.leased_until < clock_timestamp() or lease.holder = excluded.holder
returning fence;

-- name: renew_lease!
-- For as long again, while it is still ours.
update reporting.lease set leased_until = clock_timestamp() + make_interval(secs => :lease_s)
where name = :name and fence = :fence and leased_until > clock_timestamp();

-- name: hold_lease
-- Nobody else gets it until this transaction ends.
select name from reporting.lease
where name = :name and fence = :fence and leased_until > clock_timestamp() for update;

-- name: leave_lease!
-- Others may have it.
update reporting.lease set leased_until = clock_timestamp()
where name = :name and fence = :fence and leased_until > clock_timestamp();

-- name: abandon_runs!
-- What a process held that is known to be dead. A mail that it was sending stays, until settled.
update reporting.run set leased_until = clock_timestamp()
where holder = :holder and leased_until > clock_timestamp();

-- name: abandon_mails!
-- The same for mails; one that was being sent is settled as unknown.
update reporting.outbox set leased_until = clock_timestamp()
where holder = :holder and leased_until > clock_timestamp();

-- name: abandon_leases!
-- The same for rights.
update reporting.lease set leased_until = clock_timestamp()
where holder = :holder and leased_until > clock_timestamp();

-- name: add_mails!
-- Recipients of one revision, each once.
insert into reporting.outbox
    (kind, period, revision, recipient, address, class, message_id, unknown, attach, give_up_at)
select :kind, :period, :revision, recipient, address, class, message_id, :unknown, :attach, :give_up_at
from unnest(cast(:recipients as text[]), cast(:addresses as text[]), cast(:classes as text[]),
            cast(:message_ids as text[])) as to_ (recipient, address, class, message_id)
on conflict (kind, period, revision, recipient) do nothing;

-- name: take_mails
-- Some mails that are due, those of one report together: what they carry is made once. Those at which
-- workers died again and again come after all others.
with due as (
    select kind, period, revision from reporting.outbox
    where state = 'queued' and next_at <= clock_timestamp()
      and (leased_until is null or leased_until < clock_timestamp())
    order by takes > 9, next_at, id limit 1
), picked as (
    select o.id from reporting.outbox o join due using (kind, period, revision)
    where o.state = 'queued' and o.next_at <= clock_timestamp()
      and (o.leased_until is null or o.leased_until < clock_timestamp())
    order by o.class, o.id limit :most
    for update of o skip locked)
update reporting.outbox o
set fence = o.fence + 1, holder = :holder, takes = o.takes + 1,
    leased_until = clock_timestamp() + make_interval(secs => :lease_s)
from picked where o.id = picked.id
returning o.id, o.kind, o.period, o.revision, o.recipient, o.address, o.class, o.message_id,
    o.unknown, o.attach, o.duplicate, o.attempts, o.give_up_at, o.fence, clock_timestamp() as taken_at;

-- name: made!
-- What some mails carry could be made: whoever dies at one of them now dies of something else.
update reporting.outbox set takes = 0
where id = any(:ids) and fence = any(:fences) and holder = :holder and state = 'queued';

-- name: renew_mails!
-- What is still to be sent of those that were taken together.
update reporting.outbox set leased_until = clock_timestamp() + make_interval(secs => :lease_s)
where id = any(:ids) and fence = any(:fences) and holder = :holder and state = 'queued'
  and leased_until > clock_timestamp();

-- name: begin_mail!
-- Committed before DATA: from now on the mail may have arrived, where the schedule says now.
update reporting.outbox
set state = 'sending', address = :address, class = :class_,
    leased_until = clock_timestamp() + make_interval(secs => :lease_s)
where id = :id and fence = :fence and state = 'queued' and leased_until > clock_timestamp();

-- name: settle_mail!
-- What became of it. A mail whose lease ended while the server answered was declared unknown.
update reporting.outbox
set state = :state, code = :code, words = :words, holder = '', leased_until = null,
    settled_at = case when :state in ('sent', 'failed', 'unknown') then clock_timestamp() end,
    attempts = attempts + 1, takes = 0,
    next_at = clock_timestamp() + make_interval(secs => :after_s)
where id = :id and fence = :fence and leased_until > clock_timestamp();

-- name: resend
-- By hand, to one recipient, whatever became of it before; it says that it may be a duplicate.
update reporting.outbox
set state = 'queued', duplicate = duplicate or state in ('sent', 'unknown'), attempts = 0,
    next_at = clock_timestamp(), give_up_at = :give_up_at, settled_at = null,
    queued_at = clock_timestamp()
where kind = :kind and period = :period and revision = :revision and recipient = :recipient
  and state in ('sent', 'failed', 'unknown')
returning id, message_id, duplicate;

-- name: arrived
-- By hand: what was unknown did arrive.
update reporting.outbox set state = 'sent', settled_at = clock_timestamp()
where kind = :kind and period = :period and revision = :revision and recipient = :recipient
  and state = 'unknown'
returning id, message_id;

-- name: mails
-- Every mail of one report's revision, or of all.
select kind, period, revision, recipient, class, state, duplicate, attempts, code, words,
    created_at, settled_at, next_at
from reporting.outbox
where (:kind = '' or kind = :kind) and (:period = '' or period = :period)
order by id;

-- name: open_mails
-- Mails that are not sent, the oldest first.
select kind, period, revision, recipient, message_id, class, state, duplicate, attempts, code, words,
    created_at, settled_at, next_at
from reporting.outbox where state <> 'sent' order by id;

-- name: runs
-- Every run of a span of due times.
select key, report, kind, period, day, due_at, deadline_at, state, quiet, attempts, next_at, holder,
    leased_until > clock_timestamp() as working, because, revision, issued_at
from reporting.run where due_at between :since and :until order by due_at, key;

-- name: open_runs
-- Runs of which something is still to come, or to be done by a person, however old.
select key, report, kind, period, day, due_at, deadline_at, state, quiet, attempts, next_at, holder,
    leased_until > clock_timestamp() as working, because, revision, issued_at
from reporting.run where state in ('expected', 'incomplete', 'missed', 'failed')
order by due_at, key;

-- name: waive
-- By hand: a report that was missed, or that failed, is not wanted any more; nor is a revision of it.
update reporting.run
set state = case when revision is null then 'waived' else 'issued' end, because = :because,
    drafted_at = clock_timestamp() + interval '30 s', reason = '', by_hand = false, attempts = 0,
    failures = 0, quiet = quiet and not exists (
        select from reporting.outbox o where o.kind = run.kind and o.period = run.period)
where key = :key and state in ('missed', 'failed')
returning key, state;

-- name: redo!
-- By hand: runs that failed, were missed or are issued, once more.
update reporting.run
set state = 'expected', next_at = clock_timestamp(), wanted_at = clock_timestamp(), attempts = 0,
    failures = 0, by_hand = true, quiet = :quiet, because = :because, reason = :reason
where key = any(:keys) and (leased_until is null or leased_until < clock_timestamp());

-- name: next_wake
-- Seconds until something is to be done, 0 where something is, null where nothing is expected of the
-- reports that are asked for.
select extract(epoch from min(at) - clock_timestamp())::float8 as after_s from (
    select min(greatest(next_at, coalesce(leased_until, next_at))) as at from reporting.run
        where state in ('expected', 'incomplete') and report = any(:reports)
    union all
    select min(greatest(next_at, coalesce(leased_until, next_at))) from reporting.outbox
        where state in ('queued', 'sending')) w;

-- name: seen!
-- A replica's sign of life.
insert into reporting.replica (name, started_at, seen_at)
values (:name, clock_timestamp(), clock_timestamp())
on conflict (name) do update set seen_at = excluded.seen_at;

-- name: run_counts
-- By scheduled report: how its runs stand.
select report, kind,
    count(*) filter (where state = 'expected') as expected,
    count(*) filter (where leased_until > clock_timestamp()) as working,
    count(*) filter (where state = 'incomplete') as incomplete,
    count(*) filter (where state = 'issued') as issued,
    count(*) filter (where state = 'missed') as missed,
    count(*) filter (where state = 'failed') as failed,
    max(issued_at) as last_issued_at,
    max(issued_at) filter (where state = 'issued') as last_complete_at,
    coalesce(extract(epoch from clock_timestamp() - min(greatest(due_at, wanted_at))
        filter (where state = 'expected' and revision is null)), 0)::float8 as overdue_s,
    count(*) filter (where state in ('expected', 'failed') and revision is null
        and greatest(deadline_at, wanted_at + (deadline_at - due_at)) < clock_timestamp()
    ) as past_deadline,
    sum(closes)::bigint as closes, sum(closing_s) as closing_s,
    sum(issues)::bigint as issues, sum(issuing_s) as issuing_s
from reporting.run group by report, kind order by report;

-- name: mail_counts
-- Mails by state, attempts by outcome, the age of the oldest that waits. Those that were sent are
-- counted as they were: there may be millions.
with open as (
    select
        count(*) filter (where state = 'queued') as queued,
        count(*) filter (where state = 'sending') as sending,
        coalesce(extract(epoch from clock_timestamp() - min(coalesce(queued_at, created_at))
            filter (where state = 'queued')), 0)::float8 as oldest_queued_s
    from reporting.outbox where state in ('queued', 'sending')
), unsettled as (
    select
        count(*) filter (where state = 'failed') as failed,
        count(*) filter (where state = 'unknown') as unknown,
        max(settled_at) filter (where state = 'failed') as last_failed
    from reporting.outbox where state in ('failed', 'unknown')
), tries as (
    select
        coalesce(sum(tries) filter (where outcome = 'sent'), 0)::bigint as sent,
        coalesce(sum(tries) filter (where outcome = 'temporary'), 0)::bigint as tries_temporary,
        coalesce(sum(tries) filter (where outcome = 'permanent'), 0)::bigint as tries_permanent,
        coalesce(sum(tries) filter (where outcome = 'unknown'), 0)::bigint as tries_unknown
    from reporting.mail_tally
)
select *, sent as tries_sent from open, unsettled, tries;

-- name: alive
-- Replicas that gave a sign of life lately, and leases that somebody holds.
select
    (select count(*) from reporting.replica
     where seen_at > clock_timestamp() - interval '2 min') as replicas,
    (select count(*) from reporting.run where leased_until > clock_timestamp())
    + (select count(*) from reporting.outbox
       where state in ('queued', 'sending') and leased_until > clock_timestamp())
    + (select count(*) from reporting.lease where leased_until > clock_timestamp()) as leases,
    (select coalesce(max(seq), 0) from audit.log) as audit_entries;
