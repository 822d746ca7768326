-- What is expected when, who works on it, and what was sent to whom. These rows change as work goes
-- on; what happened is in the audit log, which does not.
--
-- A lease is a holder's name, a fence that grows with every taking, and an end by this server's clock.
-- Every write of a holder asks for its fence and for a lease that has not ended.

-- Up to when expected runs have been written down. One row.
create table reporting.reconciled (
    only_one boolean primary key default true check (only_one),
    until    timestamptz not null
);

create table reporting.run (
    key          text primary key,
    report       text not null,
    kind         text not null,
    period       text not null,
    day          date not null,
    first        date not null,
    last         date not null,
    due_at       timestamptz not null,
    deadline_at  timestamptz not null check (deadline_at >= due_at),
    state        text not null default 'expected'
                 check (state in ('expected', 'incomplete', 'issued', 'missed', 'failed', 'withdrawn')),
    quiet        boolean not null default false,
    attempts     integer not null default 0,
    takes        integer not null default 0,
    next_at      timestamptz not null,
    fence        bigint not null default 0,
    holder       text not null default '',
    leased_until timestamptz,
    seen         text not null default '',
    because      text not null default '',
    revision     integer,
    drafted_at   timestamptz,
    issued_at    timestamptz,
    closes       integer not null default 0,
    closing_s    double precision not null default 0,
    issues       integer not null default 0,
    issuing_s    double precision not null default 0,
    wanted_at    timestamptz not null default clock_timestamp()
);
comment on table reporting.run is 'one report that the schedule expects; key is name/calendar/period';
comment on column reporting.run.takes is 'how often in a row it was taken and nothing came of it';
comment on column reporting.run.quiet is 'asked for by hand: this once nobody is mailed';
comment on column reporting.run.drafted_at is 'days that were sealed later are not in its last revision';
comment on column reporting.run.wanted_at is 'written down, or asked for again by hand';
comment on column reporting.run.seen is 'what the ledger held when it was last looked at';
comment on column reporting.run.closing_s is 'seconds that closing days took for it, ever';
comment on column reporting.run.because is 'why it waits, or what failed last';
create index run_open on reporting.run (next_at, due_at) where state in ('expected', 'incomplete');

create table reporting.outbox (
    id           bigint generated always as identity primary key,
    kind         text not null,
    period       text not null,
    revision     integer not null,
    recipient    text not null,
    address      text not null,
    class        text not null,
    message_id   text not null,
    unknown      text not null check (unknown in ('hold', 'resend')),
    attach       boolean not null,
    state        text not null default 'queued'
                 check (state in ('queued', 'sending', 'sent', 'failed', 'unknown')),
    duplicate    boolean not null default false,
    attempts     integer not null default 0,
    next_at      timestamptz not null default clock_timestamp(),
    give_up_at   timestamptz not null,
    fence        bigint not null default 0,
    holder       text not null default '',
    leased_until timestamptz,
    code         integer,
    words        text not null default '',
    created_at   timestamptz not null default clock_timestamp(),
    settled_at   timestamptz,
    sent         integer not null default 0,
    temporary    integer not null default 0,
    permanent    integer not null default 0,
    lost         integer not null default 0,
    unique (kind, period, revision, recipient),
    foreign key (kind, period, revision) references reporting.issued_report
);
comment on table reporting.outbox is 'one mail to one recipient; sending is committed before DATA';
comment on column reporting.outbox.lost is 'attempts of which nobody knows what came, ever';
comment on column reporting.outbox.duplicate is 'what was sent before may have arrived: the mail says so';
create index outbox_unsettled on reporting.outbox (state) where state in ('failed', 'unknown');
create index outbox_open on reporting.outbox (next_at, id) where state in ('queued', 'sending');

-- What only one may do at a time beside its run: closing days.
create table reporting.lease (
    name         text primary key,
    fence        bigint not null,
    holder       text not null,
    leased_until timestamptz not null
);

create table reporting.replica (
    name       text primary key,
    started_at timestamptz not null,
    seen_at    timestamptz not null
);

do $$
declare
    target text;
begin
    foreach target in array array['reporting.reconciled', 'reporting.run', 'reporting.outbox',
                                  'reporting.lease', 'reporting.replica'] loop
        execute format('alter table %s owner to reporting_owner', target);
        execute format('grant select, insert, update on %s to reporting_app', target);
    end loop;
end $$;
