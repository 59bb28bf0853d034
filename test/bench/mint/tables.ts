import type { Algorithm } from '../../../sidecar/contract/jwk.ts';
import type { Chart, Table } from '../benchmark.ts';
import type { RawResult } from './raw.ts';
import { connectionCounts } from './rounds.ts';
import { loadOf, type Row, rowOf } from './row.ts';
import type { SubjectName } from './subjects.ts';

const names: Record<SubjectName, string> = {
  sidecar: 'sidecar',
  baseline: 'express + jose',
  floor: 'floor',
};

/** What each program does under each load. */
export function loadTable(rows: readonly Row[]): Table {
  return {
    title: 'Under load',
    columns: ['', 'Connections', 'Mints/s', 'p50 ms', 'p99 ms', 'p99.9 ms', 'CPU µs per mint'],
    rows: rows.flatMap((row) =>
      connectionCounts.map((connections) => {
        const load = loadOf(row, connections);
        return [
          `${row.alg}, ${names[row.subject]}`,
          String(connections),
          load.mintsPerSecond.toFixed(0),
          load.p50.toFixed(2),
          load.p99.toFixed(2),
          load.p999.toFixed(2),
          load.cpuMicroseconds.toFixed(0),
        ];
      }),
    ),
  };
}

/** What each program costs before and beside its work. */
export function restTable(rows: readonly Row[]): Table {
  return {
    title: 'Start and memory',
    columns: ['', 'Start to ready ms', 'RSS idle MiB', 'Private_Dirty idle MiB', 'RSS under load MiB'],
    rows: rows.map((row) => [
      `${row.alg}, ${names[row.subject]}`,
      row.ready.toFixed(0),
      row.idleRSS.toFixed(1),
      row.idlePrivate.toFixed(1),
      row.loadRSS.toFixed(1),
    ]),
  };
}

/** Signatures without a server around them. */
export function rawTable(raw: readonly RawResult[], openssl: Record<Algorithm, number> | undefined): Table {
  const measured = raw.map(({ alg, form, way, perSecond, cpuMicroseconds }) => [
    `${alg}, crypto.sign, ${form}, ${way}`,
    perSecond.toFixed(0),
    cpuMicroseconds.toFixed(0),
  ]);
  const speed = openssl === undefined ? [] : (Object.entries(openssl) as [Algorithm, number][]);
  return {
    title: 'Signatures alone',
    columns: ['', 'Signatures/s', 'CPU µs each'],
    rows: [
      ...measured,
      ...speed.map(([alg, rate]) => [
        `${alg}, openssl speed, one core`,
        rate.toFixed(0),
        (1e6 / rate).toFixed(0),
      ]),
    ],
  };
}

/** The plot of what the ratios are made of. */
export function charts(rows: readonly Row[]): Chart[] {
  const chart = (title: string, unit: string, alg: Algorithm, of: (row: Row) => number) => ({
    title,
    unit,
    bars: (['sidecar', 'baseline', 'floor'] as const).map((subject) => ({
      label: names[subject],
      value: of(rowOf(rows, alg, subject)),
    })),
  });
  return [
    chart('ES256, 16 connections', 'mints/s', 'ES256', (row) => loadOf(row, 16).mintsPerSecond),
    chart('RS256, 16 connections', 'mints/s', 'RS256', (row) => loadOf(row, 16).mintsPerSecond),
    chart('CPU per ES256 mint', 'µs', 'ES256', (row) => loadOf(row, 16).cpuMicroseconds),
    chart('p99 of RS256, 16 connections', 'ms', 'RS256', (row) => loadOf(row, 16).p99),
    chart('Private memory, idle', 'MiB', 'ES256', (row) => row.idlePrivate),
    chart('RSS under load, ES256', 'MiB', 'ES256', (row) => row.loadRSS),
    chart('Start to ready', 'ms', 'ES256', (row) => row.ready),
  ];
}
