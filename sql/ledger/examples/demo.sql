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

-- What the optional views read. ---------------------------------------------------------------------

create table if not exists firm.commission_items (
    exec_id    text        not null,
    item       text        not null,  -- commission | exchange | clearing | tax | rebate
    amount     numeric     not null,
    ccy        text        not null,
    entered_at timestamptz not null
);
create index if not exists commission_items_exec on firm.commission_items (exec_id);

create table if not exists firm.top_of_book (
    code        text        not null,
    bid         numeric     not null,
    ask         numeric     not null,
    quoted_at   timestamptz not null,
    received_at timestamptz not null
);
create index if not exists top_of_book_quoted on firm.top_of_book (quoted_at);

create table if not exists firm.tape (
    code        text        not null,
    px          numeric     not null,
    size        numeric     not null,
    printed_at  timestamptz not null,
    received_at timestamptz not null
);
create index if not exists tape_printed on firm.tape (printed_at);

create table if not exists firm.corporate_events (
    event_id     text        not null,
    code         text        not null,
    what         text        not null,  -- SPLIT | CASHDIV | EXPIRY | WITHDRAWN
    factor       numeric,               -- new units for one old unit, where it has an end
    per_unit     numeric,               -- dividend, settlement price, or for fractions of a split
    ccy          text,
    effective_at timestamptz not null,
    entered_at   timestamptz not null,
    new_units    integer,               -- 1 for 3: 1 new …
    old_units    integer,               -- … for 3 old
    primary key (event_id, entered_at)
);

create table if not exists firm.cash_movements (
    movement_id text        not null,
    book        text        not null,
    code        text,
    strategy    text,
    desk        text,
    reason      text        not null,  -- DEPOSIT | WITHDRAWAL | INTEREST | FUNDING
    amount      numeric     not null,
    ccy         text        not null,
    paid_at     timestamptz not null,
    entered_at  timestamptz not null,
    primary key (movement_id, entered_at)
);

create table if not exists firm.custody_positions (
    custodian   text        not null,
    book        text        not null,
    code        text        not null,
    quantity    numeric     not null,
    stated_at   timestamptz not null,
    received_at timestamptz not null,
    primary key (custodian, book, code, stated_at, received_at)
);

create table if not exists firm.custody_cash (
    custodian   text        not null,
    book        text        not null,
    ccy         text        not null,
    balance     numeric     not null,
    stated_at   timestamptz not null,
    received_at timestamptz not null,
    primary key (custodian, book, ccy, stated_at, received_at)
);

create or replace view ledger.fees as
select
    exec_id    as fill_id,
    item       as kind,
    amount,
    ccy        as currency,
    entered_at as recorded_at
from firm.commission_items;

create or replace view ledger.quotes as
select
    code        as instrument_id,
    bid,
    ask,
    quoted_at,
    received_at as recorded_at
from firm.top_of_book;

create or replace view ledger.market_trades as
select
    code        as instrument_id,
    px          as price,
    size        as quantity,
    printed_at  as traded_at,
    received_at as recorded_at
from firm.tape;

create or replace view ledger.corporate_actions as
select
    event_id   as action_id,
    code       as instrument_id,
    case what
        when 'SPLIT'     then 'split'
        when 'CASHDIV'   then 'dividend'
        when 'EXPIRY'    then 'expiry'
        when 'WITHDRAWN' then 'cancelled'
        else what
    end        as kind,
    factor     as ratio,
    per_unit   as amount,
    ccy        as currency,
    effective_at,
    entered_at as recorded_at,
    new_units  as ratio_new,
    old_units  as ratio_old
from firm.corporate_events;

create or replace view ledger.cash_flows as
select
    movement_id as flow_id,
    book        as account_id,
    code        as instrument_id,
    strategy,
    desk        as agent,
    lower(reason) as kind,
    amount,
    ccy         as currency,
    paid_at,
    entered_at  as recorded_at
from firm.cash_movements;

create or replace view ledger.reported_positions as
select
    book        as account_id,
    code        as instrument_id,
    quantity,
    custodian   as source,
    stated_at,
    received_at as recorded_at
from firm.custody_positions;

create or replace view ledger.reported_cash as
select
    book        as account_id,
    ccy         as currency,
    balance,
    custodian   as source,
    stated_at,
    received_at as recorded_at
from firm.custody_cash;

-- The firm's end-of-day run leaves no list of its own; the first of the day's marks is its last step.
create or replace view ledger.end_of_day as
select
    (priced_at at time zone 'America/New_York')::date as day,
    null::bigint    as orders,
    null::bigint    as fills,
    min(entered_at) as recorded_at
from firm.closing_prices
group by 1;
