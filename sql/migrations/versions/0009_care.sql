-- Nothing is lost when a schedule changes, and what a person decided stays decided.

create table reporting.scheduled (
    name    text primary key,
    since   timestamptz not null,
    seen_at timestamptz not null
);
comment on table reporting.scheduled is
    'reports of the schedule, from which due time on each is expected, and when a replica last had it';
alter table reporting.scheduled owner to reporting_owner;
grant select, insert, update on reporting.scheduled to reporting_app;

alter table reporting.reconciled add schedule text not null default '';
alter table reporting.reconciled add agreed_at timestamptz;
comment on column reporting.reconciled.schedule is 'digest of the schedule of whoever looked last';
comment on column reporting.reconciled.agreed_at is 'since when all who looked had that one';

alter table reporting.run drop constraint run_state_check;
alter table reporting.run add constraint run_state_check check (
    state in ('expected', 'incomplete', 'issued', 'missed', 'failed', 'withdrawn', 'waived'));
alter table reporting.run add by_hand boolean not null default false;
alter table reporting.run add failures integer not null default 0;
comment on column reporting.run.by_hand is 'asked for by hand: what is due by itself goes first';
comment on column reporting.run.failures is 'failures in a row that were no outage';
comment on column reporting.run.quiet is
    'asked for by hand: nobody is mailed who was not sent this report before';
create index run_order on reporting.run (report, due_at) where state in ('expected', 'incomplete');
create index run_period on reporting.run (report, period);

alter table reporting.outbox add queued_at timestamptz;
alter table reporting.outbox alter queued_at set default clock_timestamp();
comment on column reporting.outbox.queued_at is
    'since when it waits, as it may be sent again by hand; null: since it was made';
