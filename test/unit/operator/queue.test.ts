import { describe, expect, test } from '@jest/globals';
import { type QueueOptions, WorkQueue } from '../../../operator/cluster/queue.ts';
import { until } from './builders.ts';

/** A queue whose work is done by hand: what was begun can be finished or failed. */
function handWorked(options: Partial<QueueOptions> = {}) {
  const begun: { key: string; finish: (again?: number) => void; fail: (error?: Error) => void }[] = [];
  const errors: string[] = [];
  const queue = new WorkQueue({
    concurrency: 2,
    minBackoffMs: 1,
    maxBackoffMs: 4,
    cooldownMs: 1,
    work: (key) =>
      new Promise((resolve, reject) => {
        begun.push({ key, finish: resolve, fail: (error = new Error('no')) => reject(error) });
      }),
    onError: (key, error) => errors.push(`${key}: ${(error as Error).message}`),
    ...options,
  });
  const keys = () => begun.map(({ key }) => key);
  return { queue, begun, keys, errors, at: (i: number) => begun[i] as (typeof begun)[0] };
}

const settled = () => new Promise((resolve) => setTimeout(resolve, 20));

describe('a work queue', () => {
  test('works on a key once, however often it is added before work begins', async () => {
    const { queue, keys, at } = handWorked({ concurrency: 1 });
    queue.add('busy');
    for (let i = 0; i < 5; i++) queue.add('a');
    expect(queue.depth).toBe(1);
    at(0).finish();
    await until(() => keys().length === 2);
    at(1).finish();
    await settled();
    expect(keys()).toEqual(['busy', 'a']);
    expect(queue.depth).toBe(0);
  });

  test('never works on a key twice at a time, and once more when it was added meanwhile', async () => {
    const { queue, keys, at } = handWorked();
    queue.add('a');
    queue.add('a');
    queue.add('a');
    await settled();
    expect(keys()).toEqual(['a']);
    expect(queue.depth).toBe(1);
    at(0).finish();
    await until(() => keys().length === 2);
    at(1).finish();
    await settled();
    expect(keys()).toEqual(['a', 'a']);
  });

  test('works on no more keys at a time than it may, in the order in which they came', async () => {
    const { queue, keys, at } = handWorked({ concurrency: 2 });
    for (const key of ['a', 'b', 'c', 'd']) queue.add(key);
    await settled();
    expect(keys()).toEqual(['a', 'b']);
    at(1).finish();
    await until(() => keys().length === 3);
    at(0).finish();
    await until(() => keys().length === 4);
    expect(keys()).toEqual(['a', 'b', 'c', 'd']);
  });

  test('tries again after each failure, and tells of each', async () => {
    const { queue, keys, at, errors } = handWorked();
    queue.add('a');
    for (let i = 0; i < 4; i++) {
      await until(() => keys().length === i + 1);
      at(i).fail(new Error(`failure ${i}`));
    }
    await until(() => keys().length === 5);
    at(4).finish();
    await settled();
    expect(errors).toEqual([0, 1, 2, 3].map((i) => `a: failure ${i}`));
    expect(keys()).toHaveLength(5);
  });

  test('waits longer after each failure up to a limit, and from the start again after a success', async () => {
    const waits: number[] = [];
    let ended = 0;
    const outcomes = [false, false, false, false, false, true, false, true];
    let done = 0;
    const queue = new WorkQueue({
      concurrency: 1,
      minBackoffMs: 20,
      maxBackoffMs: 100,
      cooldownMs: 1,
      onError: () => {
        ended = performance.now();
      },
      work: async () => {
        if (ended > 0) waits.push(performance.now() - ended);
        const good = outcomes[done++];
        if (!good && good !== undefined) throw new Error('no');
        ended = 0;
        return done < outcomes.length ? 0 : undefined;
      },
    });
    queue.add('a');
    await until(() => done === outcomes.length);
    await queue.stop();
    // Timers are never early by more than their own rounding; how late they are is the machine's affair.
    const least = [20, 40, 80, 100, 100, 20].map((ms) => ms * 0.75 - 2);
    expect(waits).toHaveLength(least.length);
    for (const [i, wait] of waits.entries()) expect(wait).toBeGreaterThanOrEqual(least[i] as number);
  });

  test('looks again when work says so, and earlier when the key is added', async () => {
    const { queue, keys, at } = handWorked();
    queue.add('a');
    at(0).finish(1);
    await until(() => keys().length === 2);
    at(1).finish(3_600_000);
    await settled();
    expect(keys()).toHaveLength(2);
    queue.add('a');
    await until(() => keys().length === 3);
    at(2).finish();
    await queue.stop();
  });

  test('makes one piece of work of a burst of events', async () => {
    const { queue, keys, at } = handWorked({ cooldownMs: 500 });
    queue.add('a');
    at(0).finish();
    for (let i = 0; i < 5; i++) {
      // Not a timer, which on a busy machine outlasts the cooldown.
      await new Promise(setImmediate);
      queue.add('a');
    }
    await until(() => keys().length === 2);
    at(1).finish();
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect(keys()).toEqual(['a', 'a']);
    await queue.stop();
  });

  test('lets a key that cools down keep no other from being worked on', async () => {
    const { queue, keys, at } = handWorked({ concurrency: 1, cooldownMs: 3_600_000 });
    queue.add('a');
    at(0).finish();
    queue.add('b');
    await until(() => keys().length === 2);
    at(1).finish();
    await queue.stop();
    expect(keys()).toEqual(['a', 'b']);
  });

  test('does not overflow its timer when it shall look again in a year', async () => {
    const { queue, keys, at } = handWorked();
    queue.add('a');
    at(0).finish(365 * 86_400_000);
    await settled();
    expect(keys()).toEqual(['a']);
    await queue.stop();
  });

  test('stops when what it works on is done, and begins nothing more', async () => {
    const { queue, keys, at, begun } = handWorked({ concurrency: 1 });
    queue.add('a');
    queue.add('a');
    queue.add('b');
    let stopped = false;
    const stopping = queue.stop().then(() => {
      stopped = true;
    });
    queue.add('c');
    await settled();
    expect(stopped).toBe(false);
    at(0).finish(1);
    await stopping;
    await settled();
    expect(keys()).toEqual(['a']);
    expect(begun).toHaveLength(1);
    expect(queue.depth).toBe(0);
  });

  test('stops at once when it has nothing to do, and forgets what was due later', async () => {
    const { queue, keys, at } = handWorked();
    queue.add('a');
    at(0).finish(50);
    await new Promise((resolve) => setTimeout(resolve, 5));
    await queue.stop();
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(keys()).toEqual(['a']);
  });

  test('stops although work fails', async () => {
    const { queue, keys, at, errors } = handWorked();
    queue.add('a');
    const stopping = queue.stop();
    at(0).fail();
    await stopping;
    await settled();
    expect(keys()).toEqual(['a']);
    expect(errors).toEqual(['a: no']);
  });
});
