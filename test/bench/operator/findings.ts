import type { Chart, Figure, Findings, Ratio, Table } from '../benchmark.ts';
import type { Extent } from './benchmark.ts';
import type { Bytes, Comparison, Episode, Life } from './rounds.ts';
import type { Traffic } from './traffic.ts';

/** Everything that was measured. */
export interface Measured {
  extent: Extent;
  /** How many requests the bare loop has under way. */
  requestsAtATime: number;
  /** The medians of all comparisons. */
  comparison: Comparison;
  comparisons: readonly Comparison[];
  life: Life;
  bytes: Bytes;
}

const verbs = ['create', 'update', 'patch', 'delete', 'get', 'list', 'watch'] as const;
const parts = { creation: 'creation', servers: 'servers get Ready', rotation: 'rotation' } as const;
type Part = keyof typeof parts;
const names = Object.keys(parts) as Part[];

/** Makes tables, figures and the ratio of what was measured. */
export function describe(measured: Measured): Findings {
  const { extent, comparison, requestsAtATime } = measured;
  return {
    tables: [creationTable(measured), callTable(measured), byteTable(measured), lifeTable(measured)],
    charts: [chart(measured)],
    ratios: [ratio(comparison)],
    figures: figures(measured),
    method: [
      `A control plane of its own for each round (kube-apiserver, etcd, kube-controller-manager; no kubelet), the operator's bundle as a process with its shipped permissions. The clock runs from the first issuer's creation to the last status; ${requestsAtATime} issuers are created at a time. In the same cluster, before, the bare loop creates as many issuers and each of their objects, ${requestsAtATime} issuers at a time, with the operator's own client: one POST for each object and its Event, a merge patch for finalizer and status, keys made before; it reads and decides nothing. ${extent.rounds} rounds, medians.`,
      `Calls are counted in the audit log. Bytes are those of bodies, counted for ${extent.counted} issuers by a proxy that the operator is led through, with nothing timed. Servers stand in: one process answers for all pods. The steady hour is ${Math.round(extent.restSeconds / 60)} real minutes times what is missing.`,
    ],
    data: measured,
  };
}

const chart = ({ extent, comparison }: Measured): Chart => ({
  title: `${extent.issuers} issuers: all keys, objects and statuses`,
  unit: 's',
  bars: [
    { label: 'operator', value: comparison.operatorSeconds },
    { label: 'bare loop', value: comparison.bareSeconds },
  ],
});

const ratio = ({ bareSeconds, operatorSeconds }: Comparison): Ratio => ({
  name: 'issuers_1000_vs_bare_loop',
  value: operatorSeconds / bareSeconds,
  must: 3,
  aim: 2,
  better: 'lower',
  meaning: 'Time until 1,000 new issuers have all their objects and statuses: a loop that only creates them',
});

const perIssuer = (count: number, { extent }: Measured): string => (count / extent.issuers).toFixed(2);

function creationTable({ extent, comparison }: Measured): Table {
  const { bareSeconds, operatorSeconds, bareServerCPU, operatorServerCPU, cpuSeconds } = comparison;
  return {
    title: `${extent.issuers} issuers at once`,
    columns: ['', 'Seconds', 'CPU s of API server and etcd', 'CPU s of its own'],
    rows: [
      ['operator', operatorSeconds.toFixed(1), operatorServerCPU.toFixed(1), cpuSeconds.toFixed(1)],
      ['bare loop', bareSeconds.toFixed(1), bareServerCPU.toFixed(1), ''],
      [
        'ratio',
        (operatorSeconds / bareSeconds).toFixed(2),
        (operatorServerCPU / bareServerCPU).toFixed(2),
        '',
      ],
    ],
  };
}

function callTable(measured: Measured): Table {
  return {
    title: 'API calls per issuer',
    columns: ['', ...verbs, 'writes'],
    rows: names.map((part) => {
      const { calls, writes } = measured.life[part];
      return [
        parts[part],
        ...verbs.map((verb) => perIssuer(calls[verb] ?? 0, measured)),
        perIssuer(writes, measured),
      ];
    }),
  };
}

function byteTable({ bytes }: Measured): Table {
  const kilobytes = (count: number) => (count / bytes.issuers / 1000).toFixed(1);
  const cell = (traffic: Traffic, verb: string) => {
    const { sent, received } = traffic[verb] ?? { sent: 0, received: 0 };
    return `${kilobytes(sent)} / ${kilobytes(received)}`;
  };
  const used = verbs.filter((verb) => names.some((part) => bytes[part][verb]));
  return {
    title: 'Kilobytes per issuer, sent / received',
    columns: ['', ...used, 'all'],
    rows: names.map((part) => {
      const all = Object.values(bytes[part]);
      const total = (direction: 'sent' | 'received') => all.reduce((sum, one) => sum + one[direction], 0);
      return [
        parts[part],
        ...used.map((verb) => cell(bytes[part], verb)),
        `${kilobytes(total('sent'))} / ${kilobytes(total('received'))}`,
      ];
    }),
  };
}

function lifeTable({ extent, life }: Measured): Table {
  const row = (name: string, { seconds, cpuSeconds, rssMiB, peakMiB }: Episode) => [
    name,
    seconds.toFixed(1),
    cpuSeconds.toFixed(1),
    rssMiB.toFixed(0),
    peakMiB.toFixed(0),
  ];
  return {
    title: `A life of ${extent.issuers} issuers`,
    columns: ['', 'Seconds', 'CPU s', 'RSS MiB at its end', 'peak so far'],
    rows: [
      row('creation', life.creation),
      row('servers get Ready', life.servers),
      row('rest', life.rest),
      row('rotation of all', life.rotation),
    ],
  };
}

const hour = 3_600;

function figures({ extent, life }: Measured): Figure[] {
  const { creation, servers, rest, rotation } = life;
  const anHour = (count: number) => (count * hour) / rest.seconds;
  const each = (count: number) => count / extent.issuers;
  const calls = Object.values(rest.calls).reduce((sum, count) => sum + count, 0);
  return [
    {
      name: 'API writes per issuer to its steady state',
      value: each(creation.writes + servers.writes),
      unit: '',
      atMost: 12,
    },
    { name: 'API writes in a steady hour', value: anHour(rest.writes), unit: '', atMost: 0 },
    { name: 'API calls per issuer in a steady hour', value: each(anHour(calls)), unit: '' },
    { name: 'CPU of the operator in a steady hour', value: anHour(rest.cpuSeconds), unit: 's' },
    {
      name: `RSS of the operator at ${extent.issuers} issuers`,
      value: rest.rssMiB,
      unit: 'MiB',
      atMost: 200,
    },
    {
      name: 'RSS of the operator at its peak, a rotation of all included',
      value: rotation.peakMiB,
      unit: 'MiB',
    },
    { name: 'API writes per issuer and rotation', value: each(rotation.writes), unit: '' },
    { name: `rotation of ${extent.issuers} issuers at once`, value: rotation.seconds, unit: 's' },
  ];
}
