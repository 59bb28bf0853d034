import { expect, test } from '@jest/globals';
import { createMetrics } from '../../../sidecar/metrics.ts';

test('metrics of the process mean something from the first scrape on', async () => {
  const { text } = createMetrics();
  const lags = (await text()).match(/^nodejs_eventloop_lag_.*/gm) ?? [];
  expect(lags).toHaveLength(8);
  // Until there is one observation, Node.js says NaN, and 292 years for the least.
  for (const lag of lags) expect(Number(lag.split(' ')[1])).toBeLessThan(3600);
});
