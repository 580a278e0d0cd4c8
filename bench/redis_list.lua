-- One claim: take a value from the item's list, and write the order to a stream.
--
-- KEYS: not used, stream of orders
-- ARGV: item, or "envelope" for one of 3001 to 4000 picked at random; buyer; a
-- random number

local item = ARGV[1]
if item == 'envelope' then
    item = 3001 + ARGV[3] % 1000
end
local value = redis.call('RPOP', 'values:' .. item)
if not value then
    return false
end
redis.call('XADD', KEYS[2], '*', 'item', item, 'user', ARGV[2], 'value', value)
return value
