import { expect, test } from '@jest/globals';
import { createLimiter } from '../../../operator/cluster/limiter.ts';

test('no more than the limit run at a time, in order, and a failure frees its place', async () => {
  const limit = createLimiter(3);
  const begun: number[] = [];
  let running = 0;
  let most = 0;
  const work = (i: number) =>
    limit(async () => {
      begun.push(i);
      running += 1;
      most = Math.max(most, running);
      await new Promise((resolve) => setTimeout(resolve, (i * 7) % 4));
      running -= 1;
      if (i % 2 === 0) throw new Error(`${i}`);
      return i;
    });
  const results = await Promise.allSettled(Array.from({ length: 20 }, (_, i) => work(i)));
  expect(most).toBe(3);
  expect(begun).toEqual(begun.toSorted((a, b) => a - b));
  expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(10);
  expect(await limit(async () => 'again')).toBe('again');
});
