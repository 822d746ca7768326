-- A real firm's shape: two files of FX orders and their events, mapped to the ledger contract.
--
-- Tables "tca.orders" and "tca.events" have the files' columns, names and order, so that both load
-- with one COPY each. Choices made below, each said where it is made:
--   * an instrument is a ticker with the currency that its notional is given in;
--   * a notional in the ticker's second currency turns the price and the side around;
--   * a cancel/replace starts a new order; what ends an order is worked out from its events.

create schema if not exists tca;
create schema if not exists ledger;

create table if not exists tca.orders (
    date                 timestamptz not null,
    account_id           text        not null,
    algo_id              text        not null,
    algo_settings        text,
    arrival_price        numeric     not null,
    benchmark_date_end   timestamptz not null,
    benchmark_date_start timestamptz not null,
    broker_id            text,
    broker_sub_id        text,
    id                   text primary key,
    notional             numeric     not null,
    notional_currency    text        not null,
    portfolio_id         text,
    portfolio_manager_id text        not null,
    price_limit          numeric,
    side                 smallint    not null,
    ticker               text        not null,
    trader_id            text
);

create table if not exists tca.events (
    date                 timestamptz not null,
    account_id           text        not null,
    algo_id              text        not null,
    algo_settings        text,
    ancestor_pointer_id  text        not null,
    broker_id            text,
    broker_sub_id        text,
    event_type           text        not null,  -- placement | cancel/replace | cancel | trade
    executed_notional    numeric     not null,
    executed_price       numeric     not null,
    id                   text primary key,
    market_ask           numeric,
    market_bid           numeric,
    market_mid           numeric,
    notional_currency    text        not null,
    order_notional       numeric,
    portfolio_id         text,
    portfolio_manager_id text        not null,
    price_limit          numeric,
    side                 smallint    not null,
    ticker               text        not null,
    trader_id            text,
    venue                text
);
create index if not exists events_date on tca.events (date);
create index if not exists events_ancestor on tca.events (ancestor_pointer_id, date);

-- One over a price, to so many decimals, half away from zero. The numerator's scale makes PostgreSQL
-- divide to at least 24 decimals, so this is the only rounding.
create or replace function tca.inverse(price numeric, decimals integer) returns numeric
language sql immutable strict
return round(1::numeric(25, 24) / price, decimals);

-- What each pair of ticker and notional currency means. In "EURUSD" one EUR is priced in USD. A
-- notional in EUR is a quantity of EUR at that price. A notional in USD is a quantity of USD, whose
-- price is one over the quote, in EUR: buying EURUSD sells dollars, so the side turns too.
-- Profit then falls out in the price's currency, and no notional is ever converted.
--
-- The files' prices went through floats and have 13 to 18 decimals. They are kept to the last digit:
-- the tick is fine enough for every one of them, and coarse enough that a price counts fewer than
-- 2^63 ticks. An inverted price has no end of decimals and is rounded to the tick (tca.inverse).
create or replace view tca.instruments as
with traded as (
    select
        ticker,
        notional_currency as unit,
        notional_currency = right(ticker, 3) as inverted,
        min(date) as first_seen
    from tca.orders
    group by ticker, notional_currency
), named as (
    select *, case when inverted then left(ticker, 3) else right(ticker, 3) end as priced_in
    from traded
)
select
    ticker || ' in ' || unit as instrument_id,
    ticker,
    unit,
    priced_in,
    inverted,
    case when unit = 'JPY' then 18 when priced_in = 'JPY' then 14 else 16 end as decimals,
    first_seen
from named;

-- Orders of a chain, in turn: the placement, then each cancel/replace. The file gives an order of
-- its own only to the placement; a replacing order is known by its event's id.
create or replace view tca.steps as
select
    e.ancestor_pointer_id,
    case when e.event_type = 'placement' then e.ancestor_pointer_id else e.id end as order_id,
    lag(case when e.event_type = 'placement' then e.ancestor_pointer_id else e.id end)
        over chain as replaces,
    e.date as placed_at,
    lead(e.date) over chain as replaced_at,
    e.market_mid
from tca.events as e
where e.event_type in ('placement', 'cancel/replace')
window chain as (partition by e.ancestor_pointer_id order by e.date, e.id);

-- How each chain ended. Filled means the whole notional was executed, at the last trade of it.
-- Otherwise a cancel ends it, or else the end of its benchmark window, at which it expires.
create or replace view tca.endings as
select
    o.id as ancestor_pointer_id,
    case
        when t.executed >= o.notional then 'filled'
        when c.cancelled_at is not null then 'cancelled'
        else 'expired'
    end as status,
    case
        when t.executed >= o.notional then t.last_trade_at
        else coalesce(c.cancelled_at, o.benchmark_date_end)
    end as done_at
from tca.orders as o
left join (
    select ancestor_pointer_id, sum(executed_notional) as executed, max(date) as last_trade_at
    from tca.events
    where event_type = 'trade'
    group by ancestor_pointer_id
) as t on t.ancestor_pointer_id = o.id
left join (
    select ancestor_pointer_id, max(date) as cancelled_at
    from tca.events
    where event_type = 'cancel'
    group by ancestor_pointer_id
) as c on c.ancestor_pointer_id = o.id;

create or replace view ledger.instruments as
select
    instrument_id,
    instrument_id         as symbol,
    priced_in             as currency,
    1::numeric            as multiplier,
    round(power(10::numeric, -decimals), decimals) as tick,
    1::numeric            as lot,
    first_seen            as recorded_at
from tca.instruments;

-- Two versions of each order: working when it is sent, and what became of it when that is known.
create or replace view ledger.orders as
select
    s.order_id,
    s.replaces,
    o.account_id,
    i.instrument_id,
    o.algo_id              as strategy,
    o.portfolio_manager_id as agent,
    (case when i.inverted then -o.side else o.side end)::smallint as side,
    o.notional             as quantity,  -- the total wanted for the chain, on each of its orders
    s.placed_at,
    null::timestamptz      as decision_at,  -- the files know nothing before the placement
    null::numeric          as decision_price,
    case when i.inverted then tca.inverse(s.market_mid, i.decimals) else s.market_mid end
                           as arrival_price,
    v.status,
    null::text             as reject_reason,
    v.done_at,
    v.recorded_at
from tca.steps as s
join tca.orders as o on o.id = s.ancestor_pointer_id
join tca.instruments as i on i.ticker = o.ticker and i.unit = o.notional_currency
join tca.endings as n on n.ancestor_pointer_id = s.ancestor_pointer_id
cross join lateral (
    values
    ('working'::text, null::timestamptz, s.placed_at),
    (
        case when s.replaced_at is null then n.status else 'replaced' end,
        coalesce(s.replaced_at, n.done_at),
        coalesce(s.replaced_at, n.done_at)
    )
) as v (status, done_at, recorded_at);

-- A trade belongs to the order of its chain that was in the market at the time. The files know no
-- fees: none is booked, in the currency of the price.
create or replace view ledger.fills as
select
    e.id                   as fill_id,
    s.order_id,
    e.account_id,
    i.instrument_id,
    e.algo_id              as strategy,
    e.portfolio_manager_id as agent,
    (case when i.inverted then -e.side else e.side end)::smallint as side,
    e.date                 as executed_at,
    e.executed_notional    as quantity,
    case when i.inverted then tca.inverse(e.executed_price, i.decimals) else e.executed_price end
                           as price,
    e.venue,
    0::numeric             as fee,
    i.priced_in            as fee_currency,
    'new'::text            as kind,
    null::text             as refers_to,
    e.date                 as recorded_at
from tca.events as e
left join tca.instruments as i on i.ticker = e.ticker and i.unit = e.notional_currency
left join tca.steps as s
    on s.ancestor_pointer_id = e.ancestor_pointer_id
    and e.date >= s.placed_at
    and (s.replaced_at is null or e.date < s.replaced_at)
where e.event_type = 'trade';

-- The last mid that was seen of each pair on each UTC day, whichever way round it was quoted: an
-- instrument that is seldom traded is marked from the pair's other ticker. On a day on which no
-- order of the pair had an event there is no mark, and the reports list the older one as stale.
create or replace view tca.last_mids as
select distinct on (base, quote, day)
    base,
    quote,
    (date at time zone 'UTC')::date as day,
    mid,
    date
from tca.events
cross join lateral (
    values
    (left(ticker, 3), right(ticker, 3), market_mid),
    (right(ticker, 3), left(ticker, 3), tca.inverse(market_mid, 18))
) as way (base, quote, mid)
where market_mid > 0
order by base, quote, day, date desc, id desc;

create or replace view ledger.marks as
select
    i.instrument_id,
    round(m.mid, i.decimals)     as price,
    'last mid of the day'::text  as source,
    m.date                       as marked_at,
    m.date                       as recorded_at
from tca.last_mids as m
join tca.instruments as i on i.unit = m.base and i.priced_in = m.quote;

create or replace view ledger.fx_rates as
select
    base,
    quote,
    mid                          as rate,
    'last mid of the day'::text  as source,
    date                         as fixed_at,
    date                         as recorded_at
from tca.last_mids;
