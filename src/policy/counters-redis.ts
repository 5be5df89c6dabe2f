import { type Redis, redisScript } from '../core/redis.ts';
import type { Change, Claim, CounterState, Counters, Reservation } from './counters.ts';
import { keptDurations } from './slot-wait.ts';

// Both scripts keep what counters-memory.ts keeps, in the server's own time: rates in a hash of pieces, budgets in an
// integer that ends with its period, slots in a set ordered by the end of their leases.
const shared = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local asked = cjson.decode(ARGV[1])
local function whole(n) return string.format('%.0f', n) end
`;

const reserveScript = `${shared}
-- The same as slot-wait.ts.
local function untilSlotFree(sinces, took)
  if #took == 0 then return 1000 end
  for i, text in ipairs(took) do took[i] = tonumber(text) end
  table.sort(took)
  local earliest
  for _, since in ipairs(sinces) do
    local age = now - since
    local left = age / 4
    for i, one in ipairs(took) do
      if one > age then
        left = took[i + math.floor((#took - i) * 0.75)] - age
        break
      end
    end
    if not earliest or left < earliest then earliest = left end
  end
  return earliest and math.max(1, math.ceil(earliest)) or 1000
end
local found, refused, longest = {}, nil, 0
for i, c in ipairs(asked) do
  local used, wait, reset = 0, 0, 0
  if c.kind == 'rate' then
    local pieceMs = c.windowMs / 60
    local oldest = math.floor(now / pieceMs) - 60
    local fields, pieces = redis.call('HGETALL', KEYS[i]), {}
    for j = 1, #fields, 2 do
      local n = tonumber(fields[j])
      if n < oldest then redis.call('HDEL', KEYS[i], fields[j])
      else
        local amount = tonumber(fields[j + 1])
        used = used + amount
        pieces[#pieces + 1] = { n, amount }
      end
    end
    table.sort(pieces, function(a, b) return a[1] < b[1] end)
    local function freed(amount)
      local sum = 0
      for _, piece in ipairs(pieces) do
        sum = sum + piece[2]
        if sum >= amount then return (piece[1] + 61) * pieceMs - now end
      end
      return 61 * pieceMs
    end
    if used + c.amount > c.limit then wait = freed(used + c.amount - c.limit) end
    if c.amount > 0 then reset = c.windowMs + pieceMs elseif used > 0 then reset = freed(used) end
  elseif c.kind == 'budget' then
    used = tonumber(redis.call('GET', KEYS[i]) or c.initial)
    local left = redis.call('PTTL', KEYS[i])
    reset = left > 0 and left or c.endsInMs
    if used + c.amount > c.limit then wait = math.max(1, reset) end
  else
    local since = KEYS[i] .. ':since'
    for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[i], '-inf', now)) do redis.call('HDEL', since, gone) end
    redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', now)
    used = redis.call('ZCARD', KEYS[i])
    if used >= c.limit then wait = untilSlotFree(redis.call('HVALS', since), redis.call('LRANGE', KEYS[i] .. ':took', 0, -1)) end
  end
  if wait > longest then refused, longest = i, wait end
  found[i] = { used = used, reset = reset }
end
local states = {}
for i, c in ipairs(asked) do
  local taken = 0
  if not refused then
    if c.kind == 'rate' then
      taken = c.amount
      redis.call('HINCRBYFLOAT', KEYS[i], whole(math.floor(now / (c.windowMs / 60))), taken)
      redis.call('PEXPIRE', KEYS[i], whole(math.ceil(c.windowMs * 62 / 60)))
    elseif c.kind == 'budget' then
      taken = c.amount
      redis.call('SET', KEYS[i], whole(c.initial), 'NX', 'PX', whole(math.max(1, c.endsInMs)))
      redis.call('INCRBY', KEYS[i], whole(taken))
    else
      redis.call('ZADD', KEYS[i], now + c.leaseMs, c.holder)
      redis.call('PEXPIRE', KEYS[i], whole(c.leaseMs * 2))
      redis.call('HSET', KEYS[i] .. ':since', c.holder, whole(now))
      redis.call('PEXPIRE', KEYS[i] .. ':since', '86400000')
    end
  end
  states[i] = { whole(math.max(0, c.limit - found[i].used - taken)), whole(found[i].reset) }
end
return cjson.encode({ at = whole(now), refused = refused and refused - 1 or -1, wait = whole(math.ceil(longest)), states = states })
`;

const settleScript = `${shared}
local at, left = tonumber(ARGV[2]), {}
for i, c in ipairs(asked) do
  left[i] = { '0', '0' }
  if c.kind == 'rate' then
    local pieceMs = c.windowMs / 60
    local piece = math.floor(now / pieceMs)
    local back = c.amount < 0 and math.floor(at / pieceMs) or piece
    if back > piece - 61 and (c.amount > 0 or redis.call('EXISTS', KEYS[i]) == 1) then
      redis.call('HINCRBYFLOAT', KEYS[i], whole(back), c.amount)
      redis.call('PEXPIRE', KEYS[i], whole(math.ceil(c.windowMs * 62 / 60)))
    end
  elseif c.kind == 'budget' then
    local spent = 0
    if redis.call('EXISTS', KEYS[i]) == 1 then spent = redis.call('INCRBY', KEYS[i], whole(c.amount)) end
    left[i] = { whole(c.limit - spent), whole(math.max(0, redis.call('PTTL', KEYS[i]))) }
  else
    redis.call('ZREM', KEYS[i], c.holder)
    local since = redis.call('HGET', KEYS[i] .. ':since', c.holder)
    if since then
      redis.call('HDEL', KEYS[i] .. ':since', c.holder)
      redis.call('LPUSH', KEYS[i] .. ':took', whole(now - since))
      redis.call('LTRIM', KEYS[i] .. ':took', 0, ${keptDurations - 1})
      redis.call('PEXPIRE', KEYS[i] .. ':took', '3600000')
    end
  end
end
return cjson.encode(left)
`;

/** By the server's clock: those of several gateways differ. */
const renewScript = `
local time = redis.call('TIME')
redis.call('ZADD', KEYS[1], 'XX', time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2] * 2)
return 1
`;

/** One slot of a cluster, so that a script may touch all of a request's counters. */
const prefix = '{tidegate}:limits:';

/** Counters of several gateways in one Redis or Valkey: one round trip per request, and one when it ends. */
export function redisCounters(redis: Redis): Counters {
  const reserve = redisScript(redis, reserveScript);
  const settle = redisScript(redis, settleScript);
  const renew = redisScript(redis, renewScript);
  const keysOf = (items: readonly { readonly key: string }[]) => items.map(({ key }) => prefix + key);
  return {
    async reserve(claims: readonly Claim[]): Promise<Reservation> {
      if (claims.length === 0) return { states: [], at: 0 };
      const text = await reserve(keysOf(claims), [JSON.stringify(claims)]);
      const answer = JSON.parse(String(text)) as Answer; // the script above made it
      const states = claims.map(({ limit }, i) => {
        const [remaining, resetMs] = answer.states[i] ?? ['0', '0'];
        return { limit, remaining: Number(remaining), resetMs: Number(resetMs) };
      });
      const refused = { index: answer.refused, retryAfterMs: Number(answer.wait) };
      return { states, at: Number(answer.at), ...(answer.refused >= 0 && { refused }) };
    },
    async settle(at: number, changes: readonly Change[]): Promise<readonly CounterState[]> {
      if (changes.length === 0) return [];
      const text = await settle(keysOf(changes), [JSON.stringify(changes), String(at)]);
      const left = JSON.parse(String(text)) as readonly (readonly [string, string])[];
      return changes.map((change, i) => ({
        limit: change.kind === 'budget' ? change.limit : 0,
        remaining: Number(left[i]?.[0]),
        resetMs: Number(left[i]?.[1]),
      }));
    },
    renew({ key, holder, leaseMs }) {
      renew([prefix + key], [holder, String(leaseMs)]).catch(() => {}); // the lease runs out: better one place too many than a request that fails
    },
    close: () => redis.close(),
  };
}

interface Answer {
  readonly at: string;
  readonly refused: number;
  readonly wait: string;
  readonly states: readonly (readonly [remaining: string, resetMs: string])[];
}

/**
 * Counts in `own` while `first` is away: every gateway then holds the limits by itself, which lets through more than one
 * limit's worth together, but neither stops nor goes unlimited.
 */
export function withFallback(first: Counters, own: Counters): Counters {
  const mark = -1; // times of `own` are handed out below zero, so that what it took is settled with it
  return {
    async reserve(claims) {
      try {
        return await first.reserve(claims);
      } catch {
        const taken = await own.reserve(claims);
        return { ...taken, at: mark - taken.at };
      }
    },
    settle: async (at, changes) => (at < 0 ? own.settle(mark - at, changes) : first.settle(at, changes)),
    renew: (claim) => first.renew?.(claim),
    close: async () => first.close?.(),
  };
}
