-- One purchase: check, decrement, and write the order to a stream.
--
-- KEYS: hash of units by item, stream of orders, string of items to pick from
-- ARGV: item, or "any" for one picked at random; buyer; a random number
--
-- redis-benchmark has one range for all its random numbers, so an item cannot
-- be drawn by the client.  The string has 10000 items of three digits, each in
-- proportion to its probability.

local item = ARGV[1]
if item == 'any' then
    local slot = 3 * (ARGV[3] % 10000)
    item = redis.call('GETRANGE', KEYS[3], slot, slot + 2)
end
if tonumber(redis.call('HGET', KEYS[1], item)) < 1 then
    return 0
end
redis.call('HINCRBY', KEYS[1], item, -1)
redis.call('XADD', KEYS[2], '*', 'item', item, 'user', ARGV[2], 'quantity', 1)
return 1
