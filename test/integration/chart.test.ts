import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { parseAllDocuments } from 'yaml';
import { crdName } from '../../operator/api/names.ts';
import { nodeOptions } from '../../operator/bundle/command.ts';
import { ApiClient } from '../../operator/cluster/client.ts';
import { type KubeObject, resources } from '../../operator/cluster/resources.ts';
import { followAuditLog } from '../controlplane/audit.ts';
import { type ControlPlane, kubeletUser, startControlPlane } from '../controlplane/controlplane.ts';
import { type Kubelet, startKubelet } from '../kubelet/kubelet.ts';
import { type Kubectl, kubectlFor } from '../local/kubectl.ts';
import { makeAuthority } from '../support/certificates.ts';
import { chart, helm, release } from '../support/helm.ts';
import { sidecarCommand, sidecarImage } from '../support/operator.ts';
import { ensureMonitoringCRDs } from '../support/prometheus-operator.ts';
import { eventually } from './support.ts';

// The chart as its users have it: helm installs, upgrades, rolls back and uninstalls, and the Deployment's pods are the
// operator. One story, told in order.
const operatorImage = 'macp-auth-operator:dev';
const account = `system:serviceaccount:${release.namespace}:macp-auth-operator`;
const log = (line: string) => process.stderr.write(`${line}\n`);

const deployment = `Deployment ${release.namespace}/macp-auth-operator`;

interface Thing {
  apiVersion: string;
  kind: string;
  metadata: {
    name: string;
    namespace?: string;
    generation?: number;
    resourceVersion: string;
    annotations?: Record<string, string>;
  };
  [member: string]: unknown;
}

let controlPlane: ControlPlane;
let kubelet: Kubelet;
let kubectl: Kubectl;
let client: ApiClient;
let dir: string;
let outside: Server | undefined;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'macp-chart-'));
  const groups = [
    'system:authenticated',
    'system:serviceaccounts',
    `system:serviceaccounts:${release.namespace}`,
  ];
  controlPlane = await startControlPlane({ log, users: { [account]: groups } });
  // In place of the token that a pod finds under its own root.
  const kubeconfig = join(dir, 'operator.kubeconfig');
  await writeFile(kubeconfig, controlPlane.kubeConfigFor({ user: account }).exportConfig());
  const program = join(import.meta.dirname, '../../operator/main.ts');
  kubelet = await startKubelet({
    kubeConfig: controlPlane.kubeConfigFor({ user: kubeletUser }),
    images: {
      [operatorImage]: [process.execPath, ...nodeOptions, program, '--kubeconfig', kubeconfig],
      [sidecarImage]: sidecarCommand,
    },
    log,
  });
  kubectl = kubectlFor(controlPlane.binaries.kubectl, controlPlane.kubeconfigPath);
  client = new ApiClient(controlPlane.kubeConfig);
  const labels = { 'pod-security.kubernetes.io/enforce': 'restricted' };
  const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: release.namespace, labels } };
  await kubectl.run(['create', '-f', '-'], JSON.stringify(namespace));
}, 120_000);
afterAll(async () => {
  outside?.closeAllConnections();
  outside?.close();
  await kubelet?.stop();
  await controlPlane?.stop();
  await rm(dir, { recursive: true, force: true });
}, 60_000);

/** What a person who installs the chart writes, without a wish of one's own. */
const values = (more: { operator?: object; [value: string]: object | undefined } = {}) => ({
  ...more,
  operator: { image: operatorImage, ...more.operator },
  sidecar: { image: sidecarImage },
});

const run = (args: string[], given: object = {}) =>
  helm({
    log,
    args: [...args, '--namespace', release.namespace, '--kubeconfig', controlPlane.kubeconfigPath],
    values: given,
  });
const wait = ['--wait', '--timeout', '120s'];
const install = (given: object, flags: string[] = [], from = chart) =>
  run(['install', release.name, from, '--values', '-', ...wait, ...flags], given);
const upgrade = (given: object, from = chart) =>
  run(['upgrade', release.name, from, '--values', '-', ...wait], given);

/** Every object of the release as the API server has it. */
async function live(): Promise<Thing[]> {
  const manifest = await run(['get', 'manifest', release.name]);
  return JSON.parse(await kubectl.run(['get', '-f', '-', '-o', 'json'], manifest)).items as Thing[];
}
/** The versions of its objects: of the spec alone where controllers write a status. */
const versions = async () =>
  Object.fromEntries(
    (await live()).map(({ kind, metadata }) => [
      `${kind} ${metadata.namespace ?? ''}/${metadata.name}`,
      ['Deployment', 'PodDisruptionBudget'].includes(kind) ? metadata.generation : metadata.resourceVersion,
    ]),
  );

/** What differs from the release's manifest, as somebody else would see who applies it; empty when nothing. */
async function drift(): Promise<string> {
  const manifest = join(dir, 'manifest.yaml');
  await writeFile(manifest, await run(['get', 'manifest', release.name]));
  const flags = ['--server-side', '--field-manager=drift', '--force-conflicts', '-f', manifest];
  const args = ['--kubeconfig', controlPlane.kubeconfigPath, 'diff', ...flags];
  // It exits with 1 where there is a difference, and prints that.
  return promisify(execFile)(controlPlane.binaries.kubectl, args).then(
    () => '',
    ({ stdout, stderr }) => `${stdout}${stderr}`,
  );
}

const ready = () =>
  kubectl.run(['wait', '-n', 'default', '--for=condition=Ready', 'mai/team', '--timeout=90s']);
/** Changes the issuer's spec, and waits until the operator has followed. */
async function followsChange(spec: object): Promise<void> {
  await client.mergePatch(resources.issuers, 'default', 'team', { spec });
  await eventually('the new spec in status', async () => {
    const { metadata, status } = await client.get(resources.issuers, 'default', 'team');
    const { observedGeneration } = (status ?? {}) as { observedGeneration?: number };
    return observedGeneration === (metadata as { generation?: number }).generation;
  });
  await ready();
}
const activeKey = () => kubectl.run(['get', 'mai', 'team', '-o', 'jsonpath={.status.activeKeyID}']);
const operatorPods = async () =>
  JSON.parse(
    await kubectl.run([
      ...['get', 'pods', '-n', release.namespace, '-o', 'json'],
      ...['-l', 'app.kubernetes.io/component=operator'],
    ]),
  ).items as { metadata: { name: string }; status: { podIP: string } }[];
const operatorArgs = async () =>
  JSON.parse(
    await kubectl.run(['get', 'deployment', 'macp-auth-operator', '-n', release.namespace, '-o', 'json']),
  ).spec.template.spec.containers[0].args as string[];

let key: string;

test('a CRD that was applied by hand is named, and adopted when asked', async () => {
  await kubectl.run(['apply', '-f', join(chart, '../../crds')]);
  await expect(install(values())).rejects.toThrow(`CustomResourceDefinition "${crdName}"`);
  // From a chart whose CRD is older: without a printer column that there is today.
  const older = join(dir, 'older');
  await cp(chart, older, { recursive: true });
  const file = join(older, 'files/macpauthissuers.yaml');
  const text = await readFile(file, 'utf8');
  const column = /\n {8}- name: Reason\n.*\n.*(?=\n)/;
  expect(text).toMatch(column);
  await writeFile(file, text.replace(column, ''));
  const notes = await install(values(), ['--take-ownership', '--force-conflicts'], older);
  expect(notes).toContain('kubectl get mai -A');
  expect(notes).not.toContain('INJECTION IS OFF');
  expect(await kubectl.run(['get', 'crd', crdName, '-o', 'yaml'])).not.toContain('name: Reason');
}, 240_000);

test('the operator of the Deployment makes an issuer Ready, one pod of two leads, and its Service has both', async () => {
  const issuer = {
    apiVersion: resources.issuers.apiVersion,
    kind: resources.issuers.kind,
    metadata: { name: 'team' },
  };
  await kubectl.run(['create', '-n', 'default', '-f', '-'], JSON.stringify(issuer));
  await ready();
  key = await activeKey();
  const pods = await operatorPods();
  expect(pods).toHaveLength(2);
  const metrics = await Promise.all(
    pods.map(async ({ status }) => (await fetch(`http://${status.podIP}:8081/metrics`)).text()),
  );
  const leading = metrics.map((text) => /^macp_auth_operator_leader (\d)$/m.exec(text)?.[1]);
  expect(leading.sort()).toEqual(['0', '1']);
  const service = JSON.parse(
    await kubectl.run(['get', 'service', 'macp-auth-operator', '-n', release.namespace, '-o', 'json']),
  ) as { spec: { selector: Record<string, string> } };
  const selector = Object.entries(service.spec.selector).map(([name, value]) => `${name}=${value}`);
  const selected = await kubectl.run([
    ...['get', 'pods', '-n', release.namespace, '-o', 'name', '-l', selector.join(',')],
  ]);
  expect(selected.split('\n')).toHaveLength(2);
}, 120_000);

test('the pod of helm test asks the operator, and fails with the reason when it is not ready', async () => {
  const hooks = await run(['get', 'hooks', release.name]);
  const pod = parseAllDocuments(hooks)[0]?.toJSON();
  const { command, image } = pod.spec.containers[0] as { command: string[]; image: string };
  expect(image).toBe(operatorImage);
  expect(command.at(-1)).toBe(`http://macp-auth-operator.${release.namespace}.svc:8081/readyz`);
  // The process kubelet has no Service network.
  const ip = await kubectl.run([
    ...['get', 'pods', '-n', release.namespace, '-o', 'jsonpath={.items[0].status.podIP}'],
  ]);
  const [program = '', ...args] = command;
  const ask = (url: string) => promisify(execFile)(program, [...args.slice(0, -1), url]);
  expect((await ask(`http://${ip}:8081/readyz`)).stdout).toContain('200 {"ok":true}');
  await expect(ask(`http://${ip}:8081/absent`)).rejects.toThrow(/404 /);
  // It is admitted under the restricted standard.
  await kubectl.run(['create', '--dry-run=server', '-f', '-'], JSON.stringify(pod));
}, 120_000);

test('an upgrade of the chart upgrades the CRD', async () => {
  await upgrade(values());
  expect(await kubectl.run(['get', 'crd', crdName, '-o', 'yaml'])).toContain('name: Reason');
}, 180_000);

test('the same again changes nothing, and nothing drifts from what was installed', async () => {
  const before = await versions();
  expect(Object.keys(before).length).toBeGreaterThan(20);
  expect(await drift()).toBe('');
  await upgrade(values());
  expect(await versions()).toEqual(before);
  expect(await drift()).toBe('');
}, 180_000);

test('other values change what they are about alone, and a rollback takes them back', async () => {
  const { [deployment]: _, ...others } = await versions();
  await upgrade(values({ operator: { logLevel: 'debug', trustedNamespaces: ['default'] } }));
  expect(await operatorArgs()).toEqual(
    expect.arrayContaining(['--log-level=debug', '--trusted-namespaces=default']),
  );
  expect(await versions()).toMatchObject(others);
  await run(['rollback', release.name, ...wait]);
  expect(await operatorArgs()).toEqual([
    `--sidecar-image=${sidecarImage}`,
    '--leader-elect=true',
    '--log-level=info',
  ]);
  expect(await drift()).toBe('');
  await ready();
}, 240_000);

test('the operator trusts the authorities of a ConfigMap for external URLs, and asks none when told so', async () => {
  const authority = makeAuthority();
  const { certificate, key: privateKey } = authority.issue({ hosts: ['127.0.0.1'] });
  outside = createServer({ cert: certificate, key: privateKey }, async (_, response) => {
    const { data } = await client.get(resources.configMaps, 'default', 'macp-auth-team');
    response.end((data as Record<string, string>)['jwks.json']);
  }).listen(0, '127.0.0.1');
  await once(outside, 'listening');
  const externalURL = `https://127.0.0.1:${(outside.address() as AddressInfo).port}/jwks.json`;
  const until = (reason: string | undefined) =>
    eventually(`PublishedExternally with ${reason}`, async () => {
      const issuer = await client.get(resources.issuers, 'default', 'team');
      const { conditions = [] } = (issuer.status ?? {}) as {
        conditions?: { type: string; reason: string }[];
      };
      const found = conditions.find(({ type }) => type === 'PublishedExternally');
      return found?.reason === reason;
    });
  await client.mergePatch(resources.issuers, 'default', 'team', { spec: { server: { externalURL } } });
  await until('ExternalURLUnreachable');
  await writeFile(join(dir, 'ca.crt'), authority.certificate);
  await kubectl.run([
    ...['create', 'configmap', 'authorities', '-n', release.namespace],
    `--from-file=${join(dir, 'ca.crt')}`,
  ]);
  await upgrade(values({ operator: { externalCAConfigMap: 'authorities' } }));
  await until('ExternalSetCurrent');
  await upgrade(values({ operator: { externalProbe: false } }));
  await until(undefined);
  await client.mergePatch(resources.issuers, 'default', 'team', { spec: { server: { externalURL: null } } });
  await upgrade(values());
  expect(await operatorArgs()).not.toContain('--external-probe=false');
  await ready();
}, 300_000);

test('permissions for some namespaces take the place of those for all, and the other way round', async () => {
  const has = (kind: string, name: string, namespace = release.namespace) =>
    kubectl.run(['get', kind, name, '-n', namespace, '--ignore-not-found', '-o', 'name']);
  await upgrade(values({ operator: { namespaces: ['default'] } }));
  expect(await has('clusterrolebinding', 'macp-auth-operator')).toBe('');
  expect(await has('rolebinding', 'macp-auth-operator', 'default')).not.toBe('');
  const patch = { spec: { rotation: { rotateNow: 'some' } } };
  await client.mergePatch(resources.issuers, 'default', 'team', patch);
  // The operator that was started anew has seen it.
  await eventually('the issuer looked at', async () => {
    const issuer = await client.get(resources.issuers, 'default', 'team');
    const { observedRotateNow } = (issuer.status ?? {}) as { observedRotateNow?: string };
    return observedRotateNow === 'some';
  });
  // One that works elsewhere has nothing to let go in its own namespace, and no permission to look at that.
  const looksAtHome = followAuditLog(
    controlPlane.auditLogPath,
    ({ user, objectRef }) =>
      user.username === account &&
      objectRef?.resource === 'namespaces' &&
      objectRef.name === release.namespace,
  );
  await upgrade(values());
  await eventually('the former pods gone', async () => (await operatorPods()).length === 2);
  expect(await looksAtHome()).toEqual([]);
  expect(await has('clusterrolebinding', 'macp-auth-operator')).not.toBe('');
  expect(await has('rolebinding', 'macp-auth-operator', 'default')).toBe('');
  expect(await has('clusterrole', 'macp-auth-operator-leave')).toBe('');
  await ready();
}, 240_000);

const on = { enabled: true };
const monitored = values({ monitoring: { serviceMonitor: on, podMonitor: on, alerts: on } });

test('monitors without the CRDs of prometheus-operator are refused by kind, and the release stays as it is', async () => {
  const before = await versions();
  const refusal = await upgrade(monitored).then(
    () => '',
    (error: Error) => error.message,
  );
  for (const kind of ['PodMonitor', 'PrometheusRule', 'ServiceMonitor'])
    expect(refusal).toContain(`no matches for kind "${kind}" in version "monitoring.coreos.com/v1"`);
  expect(refusal).toContain('ensure CRDs are installed first');
  expect(await versions()).toEqual(before);
}, 120_000);

describe('with the CRDs of prometheus-operator', () => {
  /** The objects for it as the chart has them, not as the API server keeps them, by kind and name. */
  const found = new Map<string, Thing>();
  let crds: string[] = [];

  beforeAll(async () => {
    crds = (await ensureMonitoringCRDs(log)).flatMap((file) => ['-f', file]);
    await kubectl.run(['create', ...crds]);
    await kubectl.run(['wait', '--for=condition=Established', '--timeout=60s', ...crds]);
  }, 120_000);
  afterAll(async () => {
    if (crds.length > 0) await kubectl.run(['delete', ...crds, '--ignore-not-found']);
  }, 60_000);

  const strictly = (object: object) =>
    kubectl.run(['replace', '--dry-run=server', '--validate=strict', '-f', '-'], JSON.stringify(object));
  const shipped = (name: string) => found.get(name) as Thing;
  const labelsOf = ({ spec }: Thing) => {
    const { matchLabels = {}, matchExpressions = [] } = (
      spec as {
        selector: {
          matchLabels?: Record<string, string>;
          matchExpressions?: { key: string; operator: string; values?: string[] }[];
        };
      }
    ).selector;
    const equal = Object.entries(matchLabels).map(([label, value]) => `${label}=${value}`);
    const others = matchExpressions.map(({ key: label, operator, values: some }) =>
      some ? `${label} ${operator.toLowerCase()} (${some})` : label,
    );
    return [...equal, ...others].join(',');
  };

  test('all of them are installed, and each field is one that prometheus-operator knows', async () => {
    await upgrade(monitored);
    expect(await drift()).toBe('');
    const manifest = await run(['get', 'manifest', release.name]);
    for (const document of parseAllDocuments(manifest)) {
      const object = document.toJSON() as Thing | null;
      if (object?.apiVersion !== 'monitoring.coreos.com/v1') continue;
      found.set(`${object.kind} ${object.metadata.name}`, object);
      await strictly(object);
    }
    expect([...found.keys()].sort()).toEqual([
      'PodMonitor macp-auth-agents',
      'PodMonitor macp-auth-servers',
      'PrometheusRule macp-auth-operator',
      'ServiceMonitor macp-auth-operator',
    ]);
  }, 180_000);

  test.each([
    ['PodMonitor macp-auth-agents', 'podTargetLabels', 'unknown field "spec.podTargetLabelsX"'],
    [
      'PrometheusRule macp-auth-operator',
      'annotations',
      'unknown field "spec.groups[0].rules[0].annotationsX"',
    ],
    ['ServiceMonitor macp-auth-operator', 'honorLabels', 'unknown field "spec.endpoints[0].honorLabelsX"'],
  ])('a %s whose field %s is misspelt is refused', async (name, field, words) => {
    const { spec, ...others } = shipped(name);
    const misspelt = JSON.parse(JSON.stringify(spec).replaceAll(`"${field}":`, `"${field}X":`));
    await expect(strictly({ ...others, spec: misspelt })).rejects.toThrow(words);
  });

  test('monitors choose the Service and the pods that there are, by ports that these have', async () => {
    const monitor = shipped('ServiceMonitor macp-auth-operator');
    const { endpoints } = monitor.spec as { endpoints: { port: string }[] };
    const services = JSON.parse(
      await kubectl.run(['get', 'services', '-n', release.namespace, '-o', 'json', '-l', labelsOf(monitor)]),
    ).items as (Thing & { spec: { ports: { name: string }[] } })[];
    expect(services.map(({ metadata, spec }) => [metadata.name, spec.ports.map(({ name }) => name)])).toEqual(
      [['macp-auth-operator', endpoints.map(({ port }) => port)]],
    );

    const servers = shipped('PodMonitor macp-auth-servers');
    const podsOf = async (one: Thing) =>
      JSON.parse(await kubectl.run(['get', 'pods', '-A', '-o', 'json', '-l', labelsOf(one)])).items as {
        spec: { containers: { ports: { name: string }[] }[] };
      }[];
    const { podMetricsEndpoints } = servers.spec as { podMetricsEndpoints: { port: string }[] };
    const pods = await podsOf(servers);
    expect(pods).toHaveLength(2);
    for (const { spec } of pods) {
      const names = spec.containers.flatMap(({ ports }) => ports.map(({ name }) => name));
      expect(names).toEqual(expect.arrayContaining(podMetricsEndpoints.map(({ port }) => port)));
    }
    expect(await podsOf(shipped('PodMonitor macp-auth-agents'))).toEqual([]);
  });

  test('all of them go when they are not asked for any more', async () => {
    await upgrade(values());
    const kinds = 'servicemonitors,podmonitors,prometheusrules';
    expect(await kubectl.run(['get', kinds, '-A', '-o', 'name'])).toBe('');
  }, 180_000);
});

test('what is uninstalled leaves the CRD, issuers, keys and their servers, and nothing else', async () => {
  const manifest = await live();
  await run(['uninstall', release.name, ...wait]);
  const left = await Promise.all(
    manifest.map(async ({ kind, metadata }) => {
      const scope = metadata.namespace ? ['-n', metadata.namespace] : [];
      const found = await kubectl.run([
        'get',
        kind,
        metadata.name,
        ...scope,
        '--ignore-not-found',
        '-o',
        'name',
      ]);
      return found && `${kind} ${metadata.name}`;
    }),
  );
  expect(left.filter(Boolean)).toEqual([`CustomResourceDefinition ${crdName}`]);
  expect(await activeKey()).toBe(key);
  await kubectl.run(['get', 'secret', 'macp-auth-keyring.team', 'macp-auth.default.team', '-n', 'default']);
  const ip = await kubectl.run([
    ...['get', 'pods', '-n', 'default', '-l', 'app.kubernetes.io/component=jwks-server'],
    ...['-o', 'jsonpath={.items[0].status.podIP}'],
  ]);
  const jwks = (await (await fetch(`http://${ip}:3200/.well-known/jwks.json`)).json()) as {
    keys: { kid: string }[];
  };
  expect(jwks.keys.map(({ kid }) => kid)).toContain(key);
}, 180_000);

test('installed again it takes the CRD over by itself, and issuers go on with their keys', async () => {
  await install(values());
  await followsChange({ ttl: { max: '2h' } });
  expect(await activeKey()).toBe(key);
}, 180_000);

test('its namespace goes with an issuer in it, and the CRD and the other issuers stay', async () => {
  const issuer = {
    apiVersion: resources.issuers.apiVersion,
    kind: resources.issuers.kind,
    metadata: { name: 'near' },
  };
  await kubectl.run(['create', '-n', release.namespace, '-f', '-'], JSON.stringify(issuer));
  await kubectl.run(['wait', '-n', release.namespace, '--for=condition=Ready', 'mai/near', '--timeout=90s']);
  await kubectl.run(['delete', 'namespace', release.namespace, '--timeout=120s']);
  expect(await activeKey()).toBe(key);

  // What is for the whole cluster stayed, with the name of the release: another install takes it over, and away.
  const policies = [
    'get',
    'validatingadmissionpolicies',
    '-l',
    'app.kubernetes.io/part-of=macp-auth',
    '-o',
    'name',
  ];
  expect(await kubectl.run(policies)).toContain('macp-auth-keys');
  await kubectl.run(['create', 'namespace', release.namespace]);
  await install(values({ operator: { replicas: 0 } }));
  await run(['uninstall', release.name, ...wait]);
  expect(await kubectl.run(policies)).toBe('');
}, 240_000);

test('plain manifests install the same by kubectl, as kustomize takes them too, and issuers go on with their keys', async () => {
  const images = ['--set', `operator.image=${operatorImage}`, '--set', `sidecar.image=${sidecarImage}`];
  const root = join(import.meta.dirname, '../..');
  await promisify(execFile)(process.execPath, ['charts/manifests.ts', ...images], { cwd: root });
  const file = join(root, 'dist/manifests.yaml');
  await kubectl.run(['apply', '-f', file]);
  const rollout = ['rollout', 'status', 'deployment/macp-auth-operator', '--timeout=90s'];
  await kubectl.run([...rollout, '-n', release.namespace]);
  await followsChange({ ttl: { max: '3h' } });
  expect(await activeKey()).toBe(key);

  const folder = join(dir, 'kustomization');
  await mkdir(folder);
  await cp(file, join(folder, 'manifests.yaml'));
  await writeFile(join(folder, 'kustomization.yaml'), 'resources: [manifests.yaml]\n');
  const namesIn = (text: string) =>
    parseAllDocuments(text)
      .map((document) => document.toJSON() as Thing | null)
      .flatMap((object) => (object ? `${object.kind} ${object.metadata.name}` : []))
      .sort();
  expect(namesIn(await kubectl.run(['kustomize', folder]))).toEqual(namesIn(await readFile(file, 'utf8')));
}, 240_000);

test('a backup is restored into an emptied cluster as the docs say, and issuers go on with their keys', async () => {
  const saved = async (...what: string[]) =>
    JSON.parse(await kubectl.run(['get', ...what, '-A', '-o', 'json'])) as { items: KubeObject[] };
  const keyringLabels = 'app.kubernetes.io/managed-by=macp-auth-operator,app.kubernetes.io/component=keyring';
  const published = async () => {
    const { data } = await client.get(resources.configMaps, 'default', 'macp-auth-team');
    return JSON.parse((data as Record<string, string>)['jwks.json'] ?? '') as object;
  };
  const issuers = await saved('mai');
  const keyrings = await saved('secret', '-l', keyringLabels);
  const before = await published();
  expect(keyrings.items.map(({ metadata }) => metadata.name)).toContain('macp-auth-keyring.team');

  await kubectl.run(['delete', 'mai', '--all', '--all-namespaces', '--timeout=90s']);
  await kubectl.run(['delete', 'secret', '-A', '-l', keyringLabels]);
  await kubectl.run([
    'delete',
    '-f',
    join(import.meta.dirname, '../../dist/manifests.yaml'),
    '--timeout=120s',
  ]);

  const restore = async ({ items }: { items: KubeObject[] }) => {
    for (const { status: _, ...object } of items) {
      const { uid, resourceVersion, ownerReferences, ...metadata } = object.metadata;
      await kubectl.run(['create', '-f', '-'], JSON.stringify({ ...object, metadata }));
    }
  };
  await install(values({ operator: { replicas: 0 } }), ['--create-namespace']);
  await restore(keyrings);
  await restore(issuers);
  await upgrade(values());
  await ready();
  expect(await activeKey()).toBe(key);
  expect(await published()).toEqual(before);
}, 240_000);
