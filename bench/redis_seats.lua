-- One booking: find the first seat that is free for a trip, mark its legs, and write
-- the order to a stream.
--
-- KEYS: not used, stream of orders
-- ARGV: "train" for one train of 1000 seats after the other, "trains" for one of
-- twenty at a time; buyer; a random number
--
-- The seats of a train are one string, 32 bits for each: a bit for each of 20 legs.

local random = tonumber(ARGV[3])
local from = random % 20
local to = from + 1 + math.floor(random / 20) % (20 - from)
local legs = bit.lshift(bit.lshift(1, to - from) - 1, from)
local booking = redis.call('INCR', 'booking')
local item
if ARGV[1] == 'train' then
    item = math.floor(booking / 2000)
else
    item = math.floor(booking / 40000) * 20 + math.floor(random / 400) % 20
end
local seats = redis.call('GET', 'seats:' .. item) or ''
local band, byte = bit.band, string.byte
for seat = 0, 999 do
    -- a string that is too short has free seats
    local a, b, c, d = byte(seats, 4 * seat + 1, 4 * seat + 4)
    local taken = a and a * 16777216 + (b or 0) * 65536 + (c or 0) * 256 + (d or 0) or 0
    if band(taken, legs) == 0 then
        redis.call('BITFIELD', 'seats:' .. item, 'SET', 'u32', '#' .. seat, taken + legs)
        redis.call('XADD', KEYS[2], '*', 'item', item, 'user', ARGV[2], 'seat', seat, 'legs', legs)
        return seat
    end
end
return false
