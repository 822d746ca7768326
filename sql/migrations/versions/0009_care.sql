-- Nothing is lost when a schedule changes, and what a person decided stays decided.

create table reporting.scheduled (
    name  text primary key,
    since timestamptz not null
);
comment on table reporting.scheduled is
    'reports that the schedule has, and from which due time on each is expected';
alter table reporting.scheduled owner to reporting_owner;
grant select, insert, delete on reporting.scheduled to reporting_app;

alter table reporting.run drop constraint run_state_check;
alter table reporting.run add constraint run_state_check check (
    state in ('expected', 'incomplete', 'issued', 'missed', 'failed', 'withdrawn', 'waived'));
comment on column reporting.run.quiet is
    'asked for by hand: nobody is mailed who was not sent this report before';
create index run_order on reporting.run (report, due_at) where state in ('expected', 'incomplete');

alter table reporting.outbox add queued_at timestamptz not null default clock_timestamp();
update reporting.outbox set queued_at = created_at;
comment on column reporting.outbox.queued_at is 'since when it waits: it may be sent again by hand';
