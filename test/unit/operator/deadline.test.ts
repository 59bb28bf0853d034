import { describe, expect, jest, test } from '@jest/globals';
import { within } from '../../../operator/cluster/deadline.ts';

describe('a deadline', () => {
  test('ends what takes longer, with a reason that is no other abort', async () => {
    const hanging = (signal: AbortSignal) =>
      new Promise<never>((_, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason));
      });
    await expect(within(10, hanging)).rejects.toMatchObject({ name: 'TimeoutError' });
  });

  test('tells of its own end whatever the work failed with, and of the caller when that came first', async () => {
    const aborted = (signal: AbortSignal) =>
      new Promise<never>((_, reject) => {
        signal.addEventListener('abort', () => reject(new Error('aborted')));
      });
    await expect(within(10, aborted)).rejects.toMatchObject({ name: 'TimeoutError' });
    await expect(within(60_000, aborted, AbortSignal.timeout(10))).rejects.toThrow('aborted');
  });

  test.each<[string, () => Promise<string>]>([
    ['done', async () => 'done'],
    ['failed', () => Promise.reject(new Error('failed'))],
  ])('leaves nothing behind of what is %s in time', async (result, work) => {
    const cleared = jest.spyOn(globalThis, 'clearTimeout');
    const outcome = await within(60_000, work).catch((error: Error) => error.message);
    expect(outcome).toBe(result);
    expect(cleared).toHaveBeenCalledTimes(1);
    cleared.mockRestore();
  });
});
