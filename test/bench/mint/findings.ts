import type { Algorithm } from '../../../sidecar/contract/jwk.ts';
import type { Figure, Findings, Ratio } from '../benchmark.ts';
import type { RawResult } from './raw.ts';
import type { Durations } from './rounds.ts';
import { loadOf, type Row, rowOf } from './row.ts';
import type { SignWay, SubjectName } from './subjects.ts';
import { charts, loadTable, rawTable, restTable } from './tables.ts';

interface Measurements {
  rows: readonly Row[];
  raw: readonly RawResult[];
  openssl: Record<Algorithm, number> | undefined;
  /** How the floor signs. */
  ways: Partial<Record<Algorithm, SignWay>>;
  rounds: number;
  durations: Durations;
}

/** What the measurements say: tables, the plot, and the ratios that have a target. */
export function describe(measurements: Measurements): Findings {
  const { rows, raw, openssl } = measurements;
  return {
    tables: [loadTable(rows), restTable(rows), rawTable(raw, openssl)],
    charts: charts(rows),
    ratios: ratios(rows),
    figures: figures(rows),
    method: method(measurements),
    data: { rows, raw, openssl, floorSigns: measurements.ways },
  };
}

function ratios(rows: readonly Row[]): Ratio[] {
  type Of = (row: Row) => number;
  const rate: Of = (row) => loadOf(row, 16).mintsPerSecond;
  const cpu: Of = (row) => loadOf(row, 16).cpuMicroseconds;
  const p99: Of = (row) => loadOf(row, 16).p99;
  const ratio = (alg: Algorithm, of: Of, against: SubjectName) =>
    of(rowOf(rows, alg, 'sidecar')) / of(rowOf(rows, alg, against));
  const higher = (name: string, value: number, must: number, aim: number, meaning: string): Ratio => ({
    name,
    value,
    must,
    aim,
    better: 'higher',
    meaning,
  });
  const lower = (name: string, value: number, must: number, aim: number, meaning: string): Ratio => ({
    ...higher(name, value, must, aim, meaning),
    better: 'lower',
  });
  const at16 = '16 connections';
  return [
    higher(
      'es256_vs_baseline',
      ratio('ES256', rate, 'baseline'),
      1.2,
      1.6,
      `ES256 mints/s, ${at16}: express + jose`,
    ),
    higher(
      'rs256_vs_baseline',
      ratio('RS256', rate, 'baseline'),
      1.05,
      1.2,
      `RS256 mints/s, ${at16}: express + jose`,
    ),
    higher('es256_vs_floor', ratio('ES256', rate, 'floor'), 0.75, 0.9, `ES256 mints/s, ${at16}: floor`),
    higher('rs256_vs_floor', ratio('RS256', rate, 'floor'), 0.85, 0.95, `RS256 mints/s, ${at16}: floor`),
    lower(
      'es256_cpu_vs_floor',
      ratio('ES256', cpu, 'floor'),
      1.35,
      1.15,
      `CPU per ES256 mint, ${at16}: floor`,
    ),
    lower(
      'rs256_p99_vs_baseline',
      ratio('RS256', p99, 'baseline'),
      1,
      0.7,
      `p99 of RS256, ${at16}: express + jose`,
    ),
    lower(
      'rss_idle_vs_floor',
      ratio('ES256', (row) => row.idleRSS, 'floor'),
      1.1,
      0.95,
      'RSS idle: floor',
    ),
    lower(
      'private_idle_vs_baseline',
      ratio('ES256', (row) => row.idlePrivate, 'baseline'),
      1,
      0.7,
      'Private_Dirty idle: express + jose',
    ),
    lower(
      'rss_load_vs_baseline',
      ratio('ES256', (row) => row.loadRSS, 'baseline'),
      0.9,
      0.7,
      'RSS under load, ES256: express + jose',
    ),
    lower(
      'ready_vs_baseline',
      ratio('ES256', (row) => row.ready, 'baseline'),
      0.8,
      0.5,
      'Start to ready: express + jose',
    ),
  ];
}

const figures = (rows: readonly Row[]): Figure[] => [
  {
    name: 'Unloaded p50 of an ES256 mint',
    value: loadOf(rowOf(rows, 'ES256', 'sidecar'), 1).p50,
    unit: 'ms',
    atMost: 1,
  },
];

function method({ rounds, durations, ways }: Measurements): string[] {
  return [
    'The **sidecar** is the bundle of `npm run build`, started by `sidecar/bundle/command.ts`, with mounted files, audit ' +
      'log (to a file) and metrics (scraped once before idle memory is read). **express + jose** is ' +
      '`test/bench/baseline`, one key and the same routes, without a log or metrics. The **floor** is ' +
      '`test/bench/floor`: bare `node:http`, `JSON.parse` and `crypto.sign` as documented for JWS ' +
      `(\`ieee-p1363\`), in its faster way here (ES256: ${ways.ES256}, RS256: ${ways.RS256}), and nothing else.`,
    `Medians of ${rounds} rounds in alternating order, each with fresh processes: ${durations.starts} starts, ` +
      `${durations.settle} s of rest, then 1, 16 and 64 connections in turn, ${durations.warmUp} s of warm-up and ` +
      `${durations.load} s that count. Before, each program proves that its token is verified.`,
    'The load is wrk, a process of its own on the same machine, each connection with one request at a time. CPU is that of the ' +
      'program from `/proc/PID/stat`; memory is from `smaps_rollup`, under load the largest after the three loads; ready is ' +
      'the first good answer of `/readyz` or `/healthz`, asked each millisecond.',
  ];
}
