import type { Benchmark, Effort, Figure, Findings } from '../benchmark.ts';
import { type Durations, exponent, measure, type Point } from './measure.ts';
import { dimensions } from './scenes.ts';

const full: Durations = { warmUpMs: 400, batchMs: 100, rounds: 15 };
const brief: Durations = { warmUpMs: 20, batchMs: 5, rounds: 3 };

/** What a look at one issuer costs without asking anybody, as everything grows that can. */
export const plannerBenchmark: Benchmark = { name: 'planner', title: 'Planning', run };

// Linear, with what a measurement of three sizes does not tell from it.
const mostExponent = 1.1;

interface Result {
  dimension: string;
  points: Point[];
  planExponent: number;
  lookExponent: number;
}

async function run({ smoke, log }: Effort): Promise<Findings> {
  const results = dimensions.map((dimension): Result => {
    const points = measure(dimension, smoke ? brief : full);
    const of = (pick: (point: Point) => number) =>
      exponent(points.map((point) => ({ size: point.size, ms: pick(point) })));
    const planExponent = of(({ planMs }) => planMs);
    const lookExponent = of(({ lookMs }) => lookMs);
    log(`${dimension.name}: plan ^${planExponent.toFixed(2)}, look ^${lookExponent.toFixed(2)}`);
    return { dimension: dimension.name, points, planExponent, lookExponent };
  });
  return {
    tables: results.map(({ dimension, points, planExponent, lookExponent }) => ({
      title: `As ${dimension} grow`,
      columns: [dimension, 'plan() ms', 'whole look ms'],
      rows: [
        ...points.map(({ size, planMs, lookMs }) => [String(size), planMs.toFixed(3), lookMs.toFixed(3)]),
        ['exponent', planExponent.toFixed(2), lookExponent.toFixed(2)],
      ],
    })),
    charts: [
      {
        title: 'A look at an issuer with agents in so many namespaces',
        unit: 'ms',
        bars: (results.find(({ dimension }) => dimension === 'namespaces')?.points ?? []).map(
          ({ size, lookMs }) => ({ label: String(size), value: lookMs }),
        ),
      },
    ],
    ratios: [],
    figures: results.map(
      ({ dimension, lookExponent, planExponent }): Figure => ({
        name: `growth of planning with ${dimension}`,
        value: Math.max(lookExponent, planExponent),
        unit: 'as exponent',
        atMost: mostExponent,
      }),
    ),
    method: [
      'One call of `plan()`, and of a whole look without its requests: who is selected, `plan()`, and every object with ' +
        `keys that is wanted. Sizes in turn, ${full.rounds} rounds, medians, after a warm-up. The exponent is the slope ` +
        'of a line through the logarithms of the largest three sizes: 1 is linear.',
    ],
    data: results,
  };
}
