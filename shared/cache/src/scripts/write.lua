-- Sets each key whose version is older than the new value's.
-- KEYS: the keys. ARGV[1], ARGV[2]: time to live and its spread, in ms.
-- ARGV[3]: a letter a key: s sets, u sets only where something is there.
-- Then the values: eight bytes of version, big endian, and the content. Shorter
-- than that is the mark of a load under way: present, and older than everything.
-- The two halves are compared as numbers, since one number would lose bits and
-- strings compare by locale.
-- Answers a letter a key: + stored, = there is the same or newer, - nothing there.
local ttl, spread, modes = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local answers = {}
for i, key in ipairs(KEYS) do
  local new, old = ARGV[3 + i], redis.call('GETRANGE', key, 0, 7)
  local update = string.byte(modes, i) == 117
  if update and #old == 0 then
    answers[i] = '-'
  else
    local older = true
    if #old == 8 then
      local old_high, old_low = struct.unpack('>I4I4', old)
      local new_high, new_low = struct.unpack('>I4I4', new)
      older = old_high < new_high or (old_high == new_high and old_low < new_low)
    end
    if not older then
      answers[i] = '='
    else
      if update and #old == 8 then
        -- What nobody reads any more must still expire, however often it changes.
        redis.call('SET', key, new, 'KEEPTTL')
      else
        redis.call('SET', key, new, 'PX', ttl + (i * 7919) % spread)
      end
      answers[i] = '+'
    end
  end
end
return table.concat(answers)
