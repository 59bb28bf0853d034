import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import type { Benchmark, Effort, Findings } from '../benchmark.ts';
import { medians } from '../statistics.ts';
import { describe } from './findings.ts';
import { requestsAtATime } from './issuers.ts';
import { type Comparison, compare, countBytes, live } from './rounds.ts';

/** The operator as shipped with many issuers at once, beside the least that anybody has to ask of the API server. */
export const operatorBenchmark: Benchmark = { name: 'operator', title: 'The operator', run };

/** How much is measured. */
export interface Extent {
  issuers: number;
  rounds: number;
  /** The issuers whose bytes are counted. */
  counted: number;
  restSeconds: number;
}

// Rest is longer than the ten minutes after which everything is listed anew.
const full: Extent = { issuers: 1_000, rounds: 3, counted: 100, restSeconds: 660 };
const brief: Extent = { issuers: 10, rounds: 1, counted: 5, restSeconds: 3 };

async function run({ smoke, log }: Effort): Promise<Findings> {
  const extent = smoke ? brief : full;
  const { issuers, rounds, counted, restSeconds } = extent;
  log('building the bundle');
  execFileSync(process.execPath, [join(import.meta.dirname, '../../../operator/bundle/build.ts')]);
  const comparisons: Comparison[] = [];
  for (let round = 0; round < rounds; round += 1) {
    log(`${issuers} issuers, round ${round + 1}`);
    comparisons.push(await compare(issuers, log));
  }
  log(`the life of ${issuers} issuers`);
  const life = await live(issuers, restSeconds, log);
  log(`the bytes of ${counted} issuers`);
  const bytes = await countBytes(counted, log);
  return describe({
    extent,
    requestsAtATime,
    comparison: medians(comparisons.map((one) => ({ ...one }))),
    comparisons,
    life,
    bytes,
  });
}
