-- What wrk sends, and what it says at its end: one line of JSON, latencies in milliseconds.
wrk.method = 'POST'
wrk.headers['Content-Type'] = 'application/json'

function init(arguments)
  wrk.body = arguments[1]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"mints":%d,"mintsPerSecond":%.3f,"p50":%.3f,"p99":%.3f,"p999":%.3f,"failed":%d}\n',
    summary.requests,
    summary.requests * 1e6 / summary.duration,
    latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3,
    latency:percentile(99.9) / 1e3,
    errors.status + errors.connect + errors.read + errors.write + errors.timeout
  ))
end
