
-- Renews places and gives others back.
--
-- KEYS[1]  the places
-- ARGV     microseconds that a lease lasts; how many are renewed; these; then those that are given back
-- Answers  how many there are then

local lease, renewed = tonumber(ARGV[1]), tonumber(ARGV[2])
end_leases(KEYS[1], now, lease)
for index = 3, 2 + renewed do hold(KEYS[1], now, lease, ARGV[index]) end
give_back(KEYS[1], 3 + renewed)
return {redis.call('ZCARD', KEYS[1])}
