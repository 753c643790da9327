-- wrk sends the lines of $BODIES in turn, and prints one line at the end: requests, seconds,
-- p50 and p99 in ms, errors, and with SCAN set the median of the answers' timing.scan_s.
local bodies, n = {}, 0
scans = {} -- global: done() reads it from another state
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"

init = function()
	for line in io.lines(os.getenv("BODIES")) do
		bodies[#bodies + 1] = wrk.format(nil, nil, nil, line)
	end
end

request = function()
	n = n % #bodies + 1
	return bodies[n]
end

if os.getenv("SCAN") then
	response = function(_, _, body)
		scans[#scans + 1] = tonumber(body:match('"scan_s":([%d.e-]+)'))
	end
end

local the_thread
setup = function(thread) the_thread = thread end

done = function(summary, latency)
	local all, errors = the_thread:get("scans"), summary.errors
	table.sort(all)
	io.write(string.format("%d %.6f %.4f %.4f %d %.4f\n", summary.requests,
		summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
		errors.connect + errors.read + errors.write + errors.status + errors.timeout,
		1e3 * (all[math.floor(#all / 2) + 1] or 0)))
end
