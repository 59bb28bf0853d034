import { median } from '../statistics.ts';
import type { Dimension } from './scenes.ts';

/** Milliseconds of one planning and one look, at one size. */
export interface Point {
  size: number;
  planMs: number;
  lookMs: number;
}

/** How long is measured. */
export interface Durations {
  warmUpMs: number;
  batchMs: number;
  rounds: number;
}

/** What a dimension costs at each of its sizes. */
export function measure({ sizes, scene }: Dimension, durations: Durations): Point[] {
  const scenes = sizes.map((size) => ({
    size,
    ...scene(size),
    planMs: [] as number[],
    lookMs: [] as number[],
  }));
  for (const { plan, look } of scenes) {
    timed(plan, durations.warmUpMs);
    timed(look, durations.warmUpMs);
  }
  // All sizes in turn, so that a machine that gets slower is no size's fault.
  for (let round = 0; round < durations.rounds; round += 1) {
    for (const { plan, look, planMs, lookMs } of scenes) {
      planMs.push(timed(plan, durations.batchMs));
      lookMs.push(timed(look, durations.batchMs));
    }
  }
  return scenes.map(({ size, planMs, lookMs }) => ({ size, planMs: median(planMs), lookMs: median(lookMs) }));
}

// Milliseconds of one call, as the mean of as many as go into that time, one at least.
function timed(act: () => unknown, ms: number): number {
  const begun = performance.now();
  let calls = 0;
  let elapsed = 0;
  do {
    act();
    calls += 1;
    elapsed = performance.now() - begun;
  } while (elapsed < ms);
  return elapsed / calls;
}

/**
 * The exponent of growth: the slope of a straight line through the logarithms, by least squares. 1 is linear. Only the
 * largest three sizes count: with few of anything, what does not grow is most of the cost.
 */
export function exponent(points: readonly { size: number; ms: number }[]): number {
  const tail = points.slice(-3).map(({ size, ms }) => ({ x: Math.log(size), y: Math.log(ms) }));
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [mx, my] = [mean(tail.map(({ x }) => x)), mean(tail.map(({ y }) => y))];
  const covariance = mean(tail.map(({ x, y }) => (x - mx) * (y - my)));
  return covariance / mean(tail.map(({ x }) => (x - mx) ** 2));
}
