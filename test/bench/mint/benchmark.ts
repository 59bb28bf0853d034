import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { type Algorithm, algorithms } from '../../../sidecar/contract/jwk.ts';
import { requirePrograms } from '../../support/debian.ts';
import type { Benchmark, Effort, Findings } from '../benchmark.ts';
import { median, medians } from '../statistics.ts';
import { describe } from './findings.ts';
import { measureRaw, opensslSpeed } from './raw.ts';
import {
  connectionCounts,
  type Durations,
  fasterWay,
  type Measured,
  measure,
  type UnderLoad,
} from './rounds.ts';
import type { Row } from './row.ts';
import { createKey, node, type SignWay, type SubjectName, subjectNames } from './subjects.ts';

const rounds = 5;
const full: Durations = { starts: 5, settle: 2, warmUp: 2, load: 4 };
const brief: Durations = { starts: 1, settle: 0, warmUp: 1, load: 1 };

/** The sidecar as shipped, beside what a team would write instead and beside the floor. */
export const mintBenchmark: Benchmark = { name: 'mint', title: 'Minting', run };

async function run({ smoke, log }: Effort): Promise<Findings> {
  const durations = smoke ? brief : full;
  await requirePrograms({ wrk: ['wrk'] }, 'to load what is measured', log);
  log('building the bundle');
  execFileSync(node, [join(import.meta.dirname, '../../../sidecar/bundle/build.ts')]);
  log('raw signatures');
  const raw = await measureRaw(smoke ? 100 : 2000);
  const openssl = opensslSpeed(smoke ? 1 : 3);

  const rows: Row[] = [];
  const ways: Partial<Record<Algorithm, SignWay>> = {};
  for (const alg of algorithms) {
    const key = createKey(alg);
    try {
      const way = await fasterWay(key, durations);
      ways[alg] = way;
      const measured: Record<SubjectName, Measured[]> = { sidecar: [], baseline: [], floor: [] };
      for (let round = 0; round < (smoke ? 1 : rounds); round += 1) {
        log(`${alg}, round ${round + 1}`);
        // Forwards and backwards in turn, so that a machine that changes its speed is nobody's advantage.
        for (const name of round % 2 === 0 ? subjectNames : subjectNames.toReversed()) {
          measured[name].push(await measure(name, key, way, durations));
        }
      }
      for (const subject of subjectNames) rows.push({ alg, subject, ...summarize(measured[subject]) });
    } finally {
      key.volume.remove();
    }
  }
  return describe({ rows, raw, openssl, ways, rounds, durations: full });
}

function summarize(measured: readonly Measured[]): Measured {
  const of = (pick: (round: Measured) => number) => median(measured.map(pick));
  return {
    ready: of(({ ready }) => ready),
    idleRSS: of(({ idleRSS }) => idleRSS),
    idlePrivate: of(({ idlePrivate }) => idlePrivate),
    loadRSS: of(({ loadRSS }) => loadRSS),
    loads: connectionCounts.map((_count, index) =>
      medians(measured.flatMap(({ loads }) => ({ ...loads[index] }) as Record<keyof UnderLoad, number>)),
    ),
  };
}
