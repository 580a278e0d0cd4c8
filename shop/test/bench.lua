-- wrk: each request has a user and a key of its own, and one of 1000 addresses.
-- They are made before the clock runs.

local method = os.getenv("BENCH_METHOD")
local requests, next_request = {}, 0

local function uuid()
    return string.format("%08x-%04x-4%03x-8%03x-%08x%04x", math.random(0, 0x7fffffff),
        math.random(0, 0xffff), math.random(0, 0xfff), math.random(0, 0xfff),
        math.random(0, 0x7fffffff), math.random(0, 0xffff))
end

local function make(cookie, i)
    return wrk.format(method, nil, {
        ["Content-Type"] = "application/json",
        ["Idempotency-Key"] = uuid(),
        ["Cookie"] = "session=" .. cookie,
        ["X-Forwarded-For"] = string.format("10.0.%d.%d", math.floor(i / 250) % 4, i % 250),
    }, method == "POST" and "{}" or nil)
end

function init()
    local cookies = {}

    for line in io.lines(os.getenv("BENCH_COOKIES")) do
        cookies[#cookies + 1] = line
    end
    math.randomseed(os.time())
    for i = 1, tonumber(os.getenv("BENCH_REQUESTS")) do
        requests[i] = make(cookies[(i - 1) % #cookies + 1], i)
    end
end

function request()
    next_request = next_request % #requests + 1
    return requests[next_request]
end

function done(summary, latency)
    local errors = summary.errors

    print(string.format("RESULT %.0f %.1f %.1f %d %d", summary.requests / summary.duration * 1e6,
        latency:percentile(50) / 1000, latency:percentile(99) / 1000, errors.status,
        errors.connect + errors.read + errors.write + errors.timeout))
end
