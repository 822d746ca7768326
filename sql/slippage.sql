-- name: quotes
-- Doubled mids (bid + ask: exact, where half of it may need one more digit) of named instruments
-- from :since to :until, as known at :known_at; null where the quote is crossed or one-sided, NaN
-- where one of them is no number.
select
    q.instrument_id,
    case
        when q.bid in ('NaN', 'Infinity', '-Infinity')
          or q.ask in ('NaN', 'Infinity', '-Infinity') then 'NaN'
        when q.bid <= q.ask then q.bid + q.ask
    end as mid_doubled,
    q.quoted_at,
    q.recorded_at
from ledger.quotes q
where q.quoted_at >= :since and q.quoted_at <= :until
  and q.recorded_at <= :known_at
  and q.instrument_id = any(:instruments);

-- name: market_trades
-- What the market traded of named instruments in a business day, as known at :known_at.
select t.instrument_id, t.price, t.quantity, t.traded_at
from ledger.market_trades t
where t.traded_at >= :start and t.traded_at < :end
  and t.recorded_at <= :known_at
  and t.instrument_id = any(:instruments);
