-- The sample firm of the demo: its own tables in schema "firm", and the ledger contract over them.
--
-- The tables are shaped as a firm's are, not as the contract is: an order is a parent with children
-- and their events, a correction is an execution of type C, a fixing knows one currency. They are
-- append-only. There are no foreign keys on purpose: such feeds come from several systems, and
-- what does not match up is for the report to list, not for the load to refuse.

create schema if not exists firm;
create schema if not exists ledger;

create table if not exists firm.securities (
    code          text        not null,
    label         text        not null,
    ccy           text        not null,
    contract_size numeric     not null,
    price_step    numeric     not null,
    size_step     numeric     not null,
    entered_at    timestamptz not null,
    primary key (code, entered_at)
);

create table if not exists firm.parents (
    parent_id text primary key,
    strategy  text not null,
    desk      text not null,
    book      text not null,
    code      text not null,
    direction text not null,  -- BUY | SELL
    decided_at       timestamptz,
    mid_when_decided numeric
);

create table if not exists firm.children (
    child_id      text primary key,
    parent_id     text        not null,
    amends        text,
    total_size    numeric     not null,  -- of the whole chain, as OrderQty on a FIX replace
    sent_at       timestamptz not null,
    mid_when_sent numeric
);
create index if not exists children_parent on firm.children (parent_id);

create table if not exists firm.child_events (
    child_id    text        not null,
    state       text        not null,  -- WORKING | DONE | AMENDED | CXL | REJ | EXP
    reason      text,
    happened_at timestamptz not null,
    entered_at  timestamptz not null,
    primary key (child_id, state)
);
create index if not exists child_events_happened on firm.child_events (happened_at);
create index if not exists child_events_entered on firm.child_events (entered_at);

create table if not exists firm.executions (
    exec_id        text primary key,
    child_id       text        not null,
    executed_at    timestamptz not null,
    size           numeric     not null,
    px             numeric     not null,
    venue          text        not null,
    commission     numeric     not null,
    commission_ccy text        not null,
    exec_type      text        not null,  -- N new | C correction | B bust
    ref_exec_id    text,
    entered_at     timestamptz not null
);
create index if not exists executions_executed on firm.executions (executed_at);
create index if not exists executions_entered on firm.executions (entered_at);
create index if not exists executions_child on firm.executions (child_id);
create index if not exists executions_ref on firm.executions (ref_exec_id)
    where ref_exec_id is not null;

create table if not exists firm.closing_prices (
    code       text        not null,
    px         numeric     not null,
    source     text        not null,
    priced_at  timestamptz not null,
    entered_at timestamptz not null,
    primary key (code, priced_at, source, entered_at)
);
create index if not exists closing_prices_priced on firm.closing_prices (priced_at);

create table if not exists firm.ecb_fixings (
    ccy        text        not null,
    rate       numeric     not null,  -- units of ccy for one euro
    fixed_at   timestamptz not null,
    entered_at timestamptz not null,
    primary key (ccy, fixed_at, entered_at)
);

create or replace view ledger.instruments as
select
    code          as instrument_id,
    label         as symbol,
    ccy           as currency,
    contract_size as multiplier,
    price_step    as tick,
    size_step     as lot,
    entered_at    as recorded_at
from firm.securities;

-- A row of child_events is a version of the order: what it was when, and when that was known.
create or replace view ledger.orders as
select
    c.child_id      as order_id,
    c.amends        as replaces,
    p.book          as account_id,
    p.code          as instrument_id,
    p.strategy,
    p.desk          as agent,
    (case p.direction when 'BUY' then 1 when 'SELL' then -1 end)::smallint as side,
    c.total_size    as quantity,
    c.sent_at       as placed_at,
    p.decided_at    as decision_at,
    p.mid_when_decided as decision_price,
    c.mid_when_sent as arrival_price,
    case e.state
        when 'WORKING' then 'working'
        when 'DONE'    then 'filled'
        when 'AMENDED' then 'replaced'
        when 'CXL'     then 'cancelled'
        when 'REJ'     then 'rejected'
        when 'EXP'     then 'expired'
        else e.state  -- an unknown state is passed on, so that the contract's checks name it
    end             as status,
    e.reason        as reject_reason,
    case when e.state <> 'WORKING' then e.happened_at end as done_at,
    e.entered_at    as recorded_at
from firm.child_events as e
join firm.children as c using (child_id)
join firm.parents as p using (parent_id);

-- Left joins: an execution whose order is not there must reach the checks, not vanish in a join.
create or replace view ledger.fills as
select
    x.exec_id        as fill_id,
    x.child_id       as order_id,
    p.book           as account_id,
    p.code           as instrument_id,
    p.strategy,
    p.desk           as agent,
    (case p.direction when 'BUY' then 1 when 'SELL' then -1 end)::smallint as side,
    x.executed_at,
    x.size           as quantity,
    x.px             as price,
    x.venue,
    x.commission     as fee,
    x.commission_ccy as fee_currency,
    case x.exec_type
        when 'N' then 'new'
        when 'C' then 'correct'
        when 'B' then 'bust'
        else x.exec_type
    end              as kind,
    x.ref_exec_id    as refers_to,
    x.entered_at     as recorded_at
from firm.executions as x
left join firm.children as c using (child_id)
left join firm.parents as p using (parent_id);

create or replace view ledger.marks as
select
    code       as instrument_id,
    px         as price,
    source,
    priced_at  as marked_at,
    entered_at as recorded_at
from firm.closing_prices;

create or replace view ledger.fx_rates as
select
    'EUR'::text        as base,
    ccy                as quote,
    rate,
    'ECB sample'::text as source,
    fixed_at,
    entered_at         as recorded_at
from firm.ecb_fixings;
