-- The ledger contract: views over the firm's own tables, whatever those look like. The first five
-- must be there; each of the others adds measures, and where it is not there they are printed as
-- "not measured".
--
-- Your tables are yours. Fill schema "ledger" with views of exactly these names, columns and types
-- over them; `reporting doctor` checks every one and names what differs. sql/ledger/examples/ has
-- two worked mappings. Everything carries recorded_at: what happened and when we knew are two
-- columns, and a row that changes is a new row with a later recorded_at, never an update in place.
-- The service reads with a role that may only SELECT.
--
-- Below, the contract as empty views; `create or replace view` them with your own select.

create schema if not exists ledger;

-- One row a version of an instrument. Prices are whole multiples of tick, quantities of lot.
create or replace view ledger.instruments as select
    null::text        as instrument_id,
    null::text        as symbol,
    null::text        as currency,        -- ISO 4217, what the price is quoted in
    null::numeric     as multiplier,      -- value of one price unit of one quantity unit
    null::numeric     as tick,
    null::numeric     as lot,
    null::timestamptz as recorded_at
where false;

-- One row a version of an order. A cancel/replace makes a new order that names the old one.
create or replace view ledger.orders as select
    null::text        as order_id,
    null::text        as replaces,        -- order_id of the order that this one replaces, or null
    null::text        as account_id,
    null::text        as instrument_id,
    null::text        as strategy,
    null::text        as agent,
    null::smallint    as side,            -- +1 buy, -1 sell
    null::numeric     as quantity,        -- what was wanted, above 0
    null::timestamptz as placed_at,
    null::timestamptz as decision_at,     -- when the strategy decided to trade, or null
    null::numeric     as decision_price,  -- mid at that moment, or null
    null::numeric     as arrival_price,   -- mid when the order reached the market, or null
    null::text        as status,          -- working | filled | cancelled | replaced | rejected | expired
    null::text        as reject_reason,
    null::timestamptz as done_at,         -- when the status became final, null while working
    null::timestamptz as recorded_at
where false;

-- One row an execution, correction or bust. A correction or bust names what it replaces. What it
-- replaces stops to count on its own day, and a correction counts on the day of its executed_at.
create or replace view ledger.fills as select
    null::text        as fill_id,
    null::text        as order_id,
    null::text        as account_id,
    null::text        as instrument_id,
    null::text        as strategy,
    null::text        as agent,
    null::smallint    as side,            -- +1 buy, -1 sell
    null::timestamptz as executed_at,
    null::numeric     as quantity,        -- above 0
    null::numeric     as price,
    null::text        as venue,
    null::numeric     as fee,             -- positive is cost to us
    null::text        as fee_currency,
    null::text        as kind,            -- new | correct | bust
    null::text        as refers_to,       -- fill_id that is corrected or busted
    null::timestamptz as recorded_at
where false;

-- Prices to value positions at; the latest of the session counts, an older one is listed as stale.
create or replace view ledger.marks as select
    null::text        as instrument_id,
    null::numeric     as price,
    null::text        as source,
    null::timestamptz as marked_at,
    null::timestamptz as recorded_at
where false;

-- One unit of base is worth rate units of quote.
create or replace view ledger.fx_rates as select
    null::text        as base,
    null::text        as quote,
    null::numeric     as rate,
    null::text        as source,
    null::timestamptz as fixed_at,
    null::timestamptz as recorded_at
where false;

-- Optional from here on. ---------------------------------------------------------------------------

-- optional: What a fill's fee consists of. The items of a fill add up to its fee.
create or replace view ledger.fees as select
    null::text        as fill_id,
    null::text        as kind,            -- commission, exchange, clearing, tax, rebate, …
    null::numeric     as amount,          -- positive is cost to us
    null::text        as currency,
    null::timestamptz as recorded_at
where false;

-- optional: Best bid and ask. Mids are joined as of a fill's time, never from after it.
create or replace view ledger.quotes as select
    null::text        as instrument_id,
    null::numeric     as bid,
    null::numeric     as ask,
    null::timestamptz as quoted_at,
    null::timestamptz as recorded_at
where false;

-- optional: What the whole market traded, for the volume-weighted average price of an interval.
create or replace view ledger.market_trades as select
    null::text        as instrument_id,
    null::numeric     as price,
    null::numeric     as quantity,        -- above 0
    null::timestamptz as traded_at,
    null::timestamptz as recorded_at
where false;

-- optional: What happens to an instrument as such. One row a version of an action.
create or replace view ledger.corporate_actions as select
    null::text        as action_id,
    null::text        as instrument_id,
    null::text        as kind,            -- split | dividend | expiry | cancelled
    null::numeric     as ratio,           -- split: new units for one old unit; or see below
    null::numeric     as amount,          -- dividend: per unit; expiry: settlement price; split:
                                          -- what is paid for one unit in lieu of fractions, or null
    null::text        as currency,        -- of the dividend
    null::timestamptz as effective_at,    -- from then on prices and positions are after the action
    null::timestamptz as recorded_at,
    -- These two may be left out where every ratio is a decimal with an end.
    null::integer     as ratio_new,       -- optional column; split: so many new units …
    null::integer     as ratio_old        -- optional column; … for so many old ones: 1 and 3
where false;

-- optional: Payments that are no fill. One row a version of a flow; amount 0 takes it back.
create or replace view ledger.cash_flows as select
    null::text        as flow_id,
    null::text        as account_id,
    null::text        as instrument_id,   -- what it was paid for, or null
    null::text        as strategy,
    null::text        as agent,
    null::text        as kind,            -- funding | interest | charge: P&L; deposit | withdrawal: not
    null::numeric     as amount,          -- positive is paid to us
    null::text        as currency,
    null::timestamptz as paid_at,
    null::timestamptz as recorded_at
where false;

-- optional: What the custodian, broker or exchange says that we hold at an instant.
create or replace view ledger.reported_positions as select
    null::text        as account_id,
    null::text        as instrument_id,
    null::numeric     as quantity,        -- signed
    null::text        as source,
    null::timestamptz as stated_at,       -- the statement's own instant, one per account and source
    null::timestamptz as recorded_at
where false;

-- optional: The same for cash.
create or replace view ledger.reported_cash as select
    null::text        as account_id,
    null::text        as currency,
    null::numeric     as balance,
    null::text        as source,
    null::timestamptz as stated_at,
    null::timestamptz as recorded_at
where false;

-- optional: What your own end-of-day run says when a day's rows are all there. Counts may be null;
-- where they are given, `reporting serve` also waits until as many rows can be read. Without this
-- view it waits until the numbers of rows stay the same for some minutes.
create or replace view ledger.end_of_day as select
    null::date        as day,             -- the session
    null::bigint      as orders,          -- orders placed in it, all versions
    null::bigint      as fills,           -- fills, corrections and busts executed in it
    null::timestamptz as recorded_at
where false;
