-- wrk's requests, made once and sent in turn, and its counts as one line of JSON.
-- Arguments after "--": path pattern, first number, count, "close" or "keep-alive", and for a
-- mixed load: a write after this many lookups (0: nothing but writes), the write's path pattern,
-- its body.

local requests = {}
local turn = 0

local function number(text)
   return assert(tonumber(text), "not a number: " .. tostring(text))
end

function init(args)
   local pattern, first, count, connection = args[1], number(args[2]), number(args[3]), args[4]
   local every, write_pattern, body = tonumber(args[5] or 0), args[6], args[7]
   local headers = {}
   if connection == "close" then
      headers["Connection"] = "close"
   end
   for n = first, first + count - 1 do
      if every > 0 or not write_pattern then
         requests[#requests + 1] = wrk.format("GET", pattern:format(n), headers)
      end
      if write_pattern and #requests % (every + 1) == every then
         local written = first + (n * 7919) % count
         requests[#requests + 1] = wrk.format(
            "POST",
            write_pattern:format(written),
            { ["Content-Type"] = "application/json" },
            body
         )
      end
   end
end

function request()
   turn = turn % #requests + 1
   return requests[turn]
end

function done(summary, latency)
   local errors = summary.errors
   io.write(string.format(
      'counts: {"requests":%d,"duration_us":%d,"status":%d,"connect":%d,"read":%d,"write":%d,'
         .. '"timeout":%d,"p50_us":%d,"p99_us":%d,"p999_us":%d}\n',
      summary.requests, summary.duration, errors.status, errors.connect, errors.read,
      errors.write, errors.timeout, latency:percentile(50), latency:percentile(99),
      latency:percentile(99.9)
   ))
end
