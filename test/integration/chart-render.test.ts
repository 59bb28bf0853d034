import { cp, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { parse, parseAllDocuments, stringify } from 'yaml';
import { serverPorts } from '../../operator/build/server.ts';
import { chart, helm, release, renderChart } from '../support/helm.ts';
import { promtool } from '../support/promtool.ts';
import { type Bench, openBench } from './support.ts';

const log = (line: string) => process.stderr.write(`${line}\n`);
const images = {
  operator: { image: 'registry.example.com/operator@sha256:1' },
  sidecar: { image: 'sidecar:1' },
};
const on = { enabled: true };
const off = { enabled: false };

interface Thing {
  apiVersion: string;
  kind: string;
  metadata: {
    name: string;
    namespace?: string;
    labels: Record<string, string>;
    annotations?: Record<string, string>;
  };
  [member: string]: unknown;
}

const objectsOf = (text: string): Thing[] =>
  parseAllDocuments(text)
    .map((document) => document.toJSON() as Thing | null)
    .filter((object) => object !== null);

let bench: Bench;
let dir: string;
beforeAll(async () => {
  bench = await openBench('chart');
  dir = await mkdtemp(join(tmpdir(), 'macp-chart-'));
}, 120_000);
afterAll(async () => {
  await bench?.close();
  await rm(dir, { recursive: true, force: true });
}, 60_000);

const everything = (namespaces: string[]) => ({
  operator: {
    ...images.operator,
    imagePullPolicy: 'Always',
    imagePullSecrets: [{ name: 'registry' }],
    replicas: 3,
    namespaces,
    trustedNamespaces: namespaces,
    externalProbe: false,
    externalCAConfigMap: 'authorities',
    logLevel: 'debug',
    resources: { requests: { cpu: '1', memory: '1Gi' }, limits: { cpu: 2, memory: '1Gi' } },
    priorityClassName: 'system-cluster-critical',
    nodeSelector: { 'kubernetes.io/os': 'linux' },
    tolerations: [{ key: 'dedicated', operator: 'Equal', value: 'auth', effect: 'NoSchedule' }],
    affinity: {
      podAntiAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: [{ topologyKey: 'kubernetes.io/hostname' }],
      },
    },
    podLabels: { team: 'identity' },
    podAnnotations: { 'example.com/note': 'pod' },
    serviceAccount: { name: 'operator', annotations: { 'example.com/note': 'account' } },
  },
  sidecar: { image: 'sidecar:2', alsoAllowedImages: ['sidecar:1'], port: 4100, healthPort: 4101 },
  guards: { exempt: { objects: { users: ['system:serviceaccount:velero:velero'] } } },
  networkPolicy: {
    from: [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'monitoring' } } }],
    egress: [{ to: [{ ipBlock: { cidr: '10.0.0.0/8' } }], ports: [{ port: 6443, protocol: 'TCP' }] }],
  },
  monitoring: {
    labels: { release: 'prometheus' },
    interval: '1m',
    dashboard: { ...on, annotations: { 'example.com/folder': 'MACP' } },
  },
  // These may not take the place of the chart's own.
  commonLabels: { 'example.com/team': 'identity', 'app.kubernetes.io/managed-by': 'me' },
  commonAnnotations: { 'example.com/note': 'all' },
});

const cases: [string, (namespaces: string[]) => object][] = [
  ['no values but the images', () => images],
  ['all that can be set', everything],
  ['one namespace', (namespaces) => ({ ...images, operator: { ...images.operator, namespaces } })],
  [
    'all that can be off',
    () => ({
      ...images,
      operator: { ...images.operator, replicas: 0, resources: null },
      ...{ crd: off, injection: off, guards: off, restraint: off, networkPolicy: off },
    }),
  ],
];

describe.each(['1.30.0', '1.35.0', '1.36.0', '1.37.2'])('as for Kubernetes %s', (kubeVersion) => {
  test.each(cases)('the API server takes what the chart makes of %s', async (_, make) => {
    const values = make([bench.namespace]);
    const text = await renderChart({ log, values, kubeVersion });
    const injects = Number(kubeVersion.split('.')[1]) >= 36 && !('injection' in values);
    expect(text.includes('kind: MutatingAdmissionPolicy\n')).toBe(injects);
    const objects = objectsOf(text);
    for (const { kind, metadata } of objects) {
      expect([kind, metadata.labels]).toEqual([
        kind,
        expect.objectContaining({
          'app.kubernetes.io/managed-by': 'Helm',
          'app.kubernetes.io/part-of': 'macp-auth',
          ...('commonLabels' in values && { 'example.com/team': 'identity' }),
        }),
      ]);
      if ('commonAnnotations' in values) expect(metadata.annotations).toHaveProperty(['example.com/note']);
    }
    // Unknown fields are refused, and a warning would be one of a policy that does not type-check.
    const dry = [
      'apply',
      '--server-side',
      '--force-conflicts',
      '--dry-run=server',
      '--validate=strict',
      '-f',
      '-',
    ];
    const answers = await bench.kubectl.run(dry, text);
    expect(answers.split('\n')).toHaveLength(objects.length);
  });
});

test('helm lint finds nothing', async () => {
  const args = ['lint', '--strict', chart, '--namespace', release.namespace, '--values', '-'];
  expect(await helm({ log, args, values: images })).toContain('0 chart(s) failed');
});

test.each([
  [
    { sidecar: images.sidecar },
    'operator.image must be set to the image of the operator, as registry/name:tag',
  ],
  [
    { operator: images.operator },
    'sidecar.image must be set to the image of the sidecar, as registry/name:tag',
  ],
  [{ ...images, operators: {} }, "additional properties 'operators' not allowed"],
  [{ ...images, operator: { replica: 1 } }, "at '/operator': additional properties 'replica' not allowed"],
  [{ ...images, operator: { namespaces: 'a' } }, "at '/operator/namespaces': got string, want"],
  [
    { ...images, operator: { ...images.operator, externalProbe: 'false' } },
    "at '/operator/externalProbe': got string, want boolean",
  ],
  [{ ...images, operator: { logLevel: 'loud' } }, "at '/operator/logLevel': value must be one of 'trace'"],
  [{ ...images, monitoring: { alerts: { runbookURL: 'x' } } }, "at '/monitoring/alerts/runbookURL'"],
  [{ ...images, commonLabels: { a: 'b c' } }, "at '/commonLabels/a'"],
])('it refuses %j', async (values, words) => {
  await expect(renderChart({ log, values })).rejects.toThrow(words);
});

test('where egress is restricted, the operator reaches all that the JWKS servers listen on', async () => {
  const { networkPolicy } = everything([]);
  const objects = objectsOf(await renderChart({ log, values: { ...images, networkPolicy } }));
  const { spec } = objects.find(({ kind }) => kind === 'NetworkPolicy') as Thing;
  const { egress } = spec as {
    egress: { to?: { podSelector?: { matchLabels: Record<string, string> } }[]; ports: { port: number }[] }[];
  };
  const rule = egress.find(({ to }) =>
    to?.some(({ podSelector }) => podSelector?.matchLabels['app.kubernetes.io/component'] === 'jwks-server'),
  );
  expect(rule?.ports.map(({ port }) => port).sort()).toEqual(Object.values(serverPorts).sort());
});

describe('monitoring', () => {
  const monitored = {
    ...images,
    monitoring: { labels: { release: 'p' }, serviceMonitor: on, podMonitor: on, alerts: on, dashboard: on },
  };
  const rendered = async (values: object) => objectsOf(await renderChart({ log, values }));
  const kinds = ['ServiceMonitor', 'PodMonitor', 'PrometheusRule'];

  test('is not there unless it is asked for', async () => {
    const found = (await rendered(images)).filter(({ kind }) => kinds.includes(kind) || kind === 'ConfigMap');
    expect(found).toEqual([]);
  });

  test('has the labels that a Prometheus selects by', async () => {
    const found = (await rendered(monitored)).filter(({ kind }) => kinds.includes(kind));
    expect(found.map(({ kind, metadata }) => [kind, metadata.labels.release])).toEqual([
      ['PodMonitor', 'p'],
      ['PodMonitor', 'p'],
      ['PrometheusRule', 'p'],
      ['ServiceMonitor', 'p'],
    ]);
  });

  test('of the operator, sidecars and servers asks ports that their pods have', async () => {
    const objects = await rendered({ ...monitored });
    const text = JSON.stringify(objects);
    const ports = objects
      .filter(({ kind }) => kind === 'PodMonitor')
      .flatMap(({ spec }) => (spec as { podMetricsEndpoints: { port: string }[] }).podMetricsEndpoints)
      .map(({ port }) => port);
    expect(ports.sort()).toEqual(['health', 'macp-health']);
    expect(text).toContain("ports{name: 'macp-health'");
  });

  const rulesOf = (objects: Thing[]) =>
    objects.find(({ kind }) => kind === 'PrometheusRule')?.spec as {
      groups: { rules: { alert: string; annotations: Record<string, string> }[] }[];
    };

  test('alerts are rules of Prometheus, and fire when they should', async () => {
    const file = join(dir, 'rules.yaml');
    const spec = rulesOf(await rendered(monitored));
    const rules = spec.groups.flatMap((group) => group.rules);
    await writeFile(file, stringify(spec));
    expect(await promtool(log, ['check', 'rules', '--lint=all', '--lint-fatal', file])).toContain(
      `SUCCESS: ${rules.length} rules found`,
    );
    const tests = join(import.meta.dirname, 'alerts.yaml');
    expect(await promtool(log, ['test', 'rules', tests])).toContain('SUCCESS');
    const cases = await readFile(tests, 'utf8');
    for (const { alert } of rules) expect(cases).toContain(`alertname="${alert}"`);
  });

  test('alerts link to runbooks, and may be left out', async () => {
    const runbookURL = 'https://example.com/runbooks.md';
    const alerts = { ...on, runbookURL, disabled: ['MacpAuthClocksDiffer'] };
    const { groups } = rulesOf(await rendered({ ...images, monitoring: { alerts } }));
    const rules = groups.flatMap(({ rules: some }) => some);
    expect(rules.map(({ alert }) => alert)).not.toContain('MacpAuthClocksDiffer');
    expect(rules).toHaveLength(15);
    for (const { annotations } of rules) expect(annotations.runbook_url).toMatch(`${runbookURL}#`);
    const sidecars = groups.at(-1)?.rules[0];
    // What Prometheus fills in is not filled in by helm.
    expect(sidecars?.annotations.summary).toContain('{{ $labels.pod }}');
  });

  test('the dashboard is one of Grafana, with its label', async () => {
    const map = (await rendered(monitored)).find(({ kind }) => kind === 'ConfigMap') as Thing;
    expect(map.metadata.labels.grafana_dashboard).toBe('1');
    const { panels } = JSON.parse((map.data as Record<string, string>)['macp-auth.json'] as string);
    expect(panels.length).toBeGreaterThan(10);
  });
});

test('the notes say what to do next, and what is off', async () => {
  // Helm writes them for an install alone, and then as for the cluster that is there.
  const noted = join(dir, 'noted');
  await cp(chart, noted, { recursive: true });
  await rename(join(noted, 'templates/NOTES.txt'), join(noted, 'files/NOTES.txt'));
  await writeFile(
    join(noted, 'templates/notes.yaml'),
    'notes: {{ tpl (.Files.Get "files/NOTES.txt") . | toJson }}\n',
  );
  const notes = async (values: object, kubeVersion: string) => {
    const args = ['template', release.name, noted, '--namespace', release.namespace, '--values', '-'];
    const only = ['--kube-version', kubeVersion, '--show-only', 'templates/notes.yaml'];
    return parse(await helm({ log, args: [...args, ...only], values })).notes as string;
  };
  const usual = await notes(images, '1.36.0');
  expect(usual).toContain('kubectl -n macp-auth-system rollout status deployment/macp-auth-operator');
  expect(usual).not.toMatch(/\boff\b/i);
  for (const [namespaces, expected] of [
    [['team-a', 'team-b'], 'team-a'],
    [[], 'default'],
    [null, 'default'],
  ]) {
    const told = await notes({ ...images, operator: { ...images.operator, namespaces } }, '1.36.0');
    expect(told).toContain(`name: team, namespace: ${expected} }`);
    expect(told).toContain(`: ${expected}.team,`);
  }
  expect(await notes(images, '1.35.0')).toContain('INJECTION IS OFF: this cluster is v1.35.0');
  const some = await notes(
    { ...images, ...{ guards: off, restraint: off, crd: off, injection: off } },
    '1.37.2',
  );
  for (const words of [
    'Injection is off',
    'The guards are off',
    'The restraint is off',
    'The CRD is not part',
  ])
    expect(some).toContain(words);
});
