import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { objectNames } from '../../operator/api/names.ts';
import { resources } from '../../operator/cluster/resources.ts';
import type { Kubectl } from '../local/kubectl.ts';
import { sidecarImage } from '../support/operator.ts';
import { issuerLabel, nextSidecarImage, type PolicyCluster, startPolicyCluster } from './policy-cluster.ts';
import { eventually } from './support.ts';
import {
  agent,
  agentPod,
  type Container,
  create,
  getPod,
  injected,
  mintedToken,
  type Pod,
  podsOf,
  podTemplate,
  shortAgent,
  tryCreate,
} from './workloads.ts';

const group = 'auth.multiagentcoordinationprotocol.io';
const managedBy = { 'app.kubernetes.io/managed-by': 'macp-auth-operator' };

let cluster: PolicyCluster;
let namespace: string;
let issuer: string;
let agentSecret: string;

beforeAll(async () => {
  cluster = await startPolicyCluster();
  await cluster.install();
  namespace = await cluster.namespace('guarded');
  issuer = `${namespace}.team`;
  agentSecret = `macp-auth.${issuer}`;
  await cluster.issuer(namespace, 'team');
  await cluster.ready(namespace, 'team');
  await eventually('the guard of objects', async () =>
    (await refusalOf(create(cluster, configMap('probe', managedBy), ['--dry-run=server']))).includes(
      'denied request',
    ),
  );
}, 900_000);

afterAll(() => cluster?.close(), 60_000);

/** What a refused request was told; empty when it was not refused. */
const refusalOf = (attempt: Promise<unknown>): Promise<string> =>
  attempt.then(
    () => '',
    (error: Error) => error.message,
  );

/** Expects that a policy refuses a request, with a message that contains `words`. */
async function expectRefused(attempt: Promise<unknown>, policy: string, words: string): Promise<void> {
  const refusal = await refusalOf(attempt);
  expect(refusal).toContain(
    `ValidatingAdmissionPolicy '${policy}' with binding '${policy}' denied request: `,
  );
  expect(refusal).toContain(words);
}

const configMap = (name: string, labels: Record<string, string> = {}) => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, namespace, labels },
  data: { text: 'one' },
});

const secret = (name: string, type: string, labels: Record<string, string> = {}) => ({
  ...configMap(name, labels),
  kind: 'Secret',
  type,
  data: {},
});

/** A pod with the sidecar written into it as it would be injected, changed by `change`. */
function handWritten(change: (pod: Pod, sidecar: Container) => void): Pod {
  const { container, volumes } = structuredClone(injected(issuer));
  const pod = agentPod(namespace, issuer, 'hand-written', { initContainers: [container], volumes });
  change(pod, container);
  return pod;
}

/** Binds a pod to a node. What the binding has for labels the API server copies to the pod. */
const bindPod = (who: Kubectl, pod: string, labels: Record<string, string>, path = `pods/${pod}/binding`) =>
  who.run(
    ['create', '--raw', `/api/v1/namespaces/${namespace}/${path}?dryRun=All`, '-f', '-'],
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Binding',
      metadata: { name: pod, namespace, labels },
      target: { kind: 'Node', name: 'elsewhere' },
    }),
  );

const asInjected = () => handWritten(() => {});

const env = (sidecar: Container, name: string) => {
  const variable = sidecar.env?.find((candidate) => candidate.name === name);
  if (!variable) throw new Error(`no variable ${name}`);
  return variable;
};

test('every policy type-checks without a warning', async () => {
  const list = await cluster.admin.run(['get', 'validatingadmissionpolicies', '-o', 'json']);
  const policies = (JSON.parse(list) as { items: Policy[] }).items;
  expect(policies.map(({ metadata }) => metadata.name)).toEqual([
    'macp-auth-bindings',
    'macp-auth-keys',
    'macp-auth-new-agent-pods',
    'macp-auth-objects',
    'macp-auth-restraint-budgets',
    'macp-auth-restraint-deployments',
    'macp-auth-restraint-issuers',
    'macp-auth-restraint-objects',
    'macp-auth-restraint-pods',
    'macp-auth-restraint-services',
    'macp-auth-running-agent-pods',
    'macp-auth-sidecar-access',
  ]);
  for (const { metadata, status } of policies) {
    expect(status).toEqual({ observedGeneration: metadata.generation, typeChecking: {} });
  }
});

interface Policy {
  metadata: { name: string; generation: number };
  status?: object;
}

describe('a new pod with the label', () => {
  const denied = 'macp-auth-new-agent-pods';

  test('passes with the sidecar written as it is injected', async () => {
    const pod = asInjected();
    const made = await tryCreate<Pod>(cluster, pod);
    expect(made.spec.initContainers?.[0]?.env).toEqual(injected(issuer).container.env);
  });

  test.each(['', 'team', 'a.b.c', '.team', 'UPPER.team', `a.${'n'.repeat(41)}`])(
    'is refused with the label value "%s"',
    async (value) => {
      const words = `the label ${issuerLabel} is '${value}': set it to <namespace>.<name> of a MacpAuthIssuer`;
      // These the API server refuses as labels of any kind.
      if (value.startsWith('.'))
        return expect(await refusalOf(tryCreate(cluster, agentPod(namespace, value, 'x')))).toContain(
          'Invalid value',
        );
      await expectRefused(tryCreate(cluster, agentPod(namespace, value, 'x')), denied, words);
    },
  );

  test.each([
    ['sidecar-port', '80', 'a port from 1024 to 65535'],
    ['sidecar-port', '65536', 'a port from 1024 to 65535'],
    ['sidecar-port', 'http', 'a port from 1024 to 65535'],
    ['sidecar-health-port', '-1', 'a port from 1024 to 65535'],
    ['sidecar-cpu-request', 'much', 'an amount greater than 0, such as 100m'],
    ['sidecar-cpu-limit', '-1', 'an amount greater than 0, such as 100m'],
    ['sidecar-memory-request', '12 MB', 'an amount greater than 0, such as 128Mi'],
    ['sidecar-memory-limit', '0', 'an amount greater than 0, such as 128Mi'],
  ])('is refused with the annotation %s "%s"', async (name, value, fix) => {
    const pod = agentPod(namespace, issuer, 'annotated');
    pod.metadata.annotations = { [`${group}/${name}`]: value };
    const words = `the annotation ${group}/${name} is '${value}': set it to ${fix}, or remove it`;
    await expectRefused(tryCreate(cluster, pod), denied, words);
  });

  test.each([
    ['cpu', '2', '500m'],
    ['memory', '1Gi', '1024M'],
  ])('is refused with a request of %s of %s above its own limit of %s', async (resource, request, limit) => {
    const pod = agentPod(namespace, issuer, 'annotated');
    const prefix = `${group}/sidecar-${resource}`;
    pod.metadata.annotations = { [`${prefix}-request`]: request, [`${prefix}-limit`]: limit };
    const words = `the annotation ${prefix}-request is '${request}', which is more than the '${limit}' of the annotation ${prefix}-limit: lower the request, or raise the limit`;
    await expectRefused(tryCreate(cluster, pod), denied, words);
  });

  const attacks: [string, string, (pod: Pod, sidecar: Container) => void][] = [
    [
      "a sidecar's name with another image",
      `the init container macp-auth-sidecar must have the image ${sidecarImage}`,
      (_, sidecar) => Object.assign(sidecar, { image: 'host' }),
    ],
    ...(
      [
        ['another command', { command: ['cat', '/var/run/macp-auth/keys.json'] }],
        ['arguments', { args: ['-e', 'print()'] }],
        ['another working directory', { workingDir: '/tmp' }],
        ['variables from elsewhere', { envFrom: [{ configMapRef: { name: 'options' } }] }],
        [
          'a hook',
          { lifecycle: { postStart: { exec: { command: ['cat', '/var/run/macp-auth/keys.json'] } } } },
        ],
        ['a startup probe that runs a program', { startupProbe: { exec: { command: ['true'] } } }],
        ['a liveness probe that runs a program', { livenessProbe: { exec: { command: ['true'] } } }],
        ['a readiness probe that runs a program', { readinessProbe: { exec: { command: ['true'] } } }],
        ['its last words from the files', { terminationMessagePath: '/var/run/macp-auth/keys.json' }],
        ['an end', { restartPolicy: undefined, startupProbe: undefined, livenessProbe: undefined }],
      ] as const
    ).map(([what, members]): [string, string, (pod: Pod, sidecar: Container) => void] => [
      `our image with ${what}`,
      'the init container macp-auth-sidecar must have restartPolicy Always, and neither command, args, workingDir, envFrom, lifecycle, volumeDevices, an exec probe nor a terminationMessagePath',
      (_, sidecar) => Object.assign(sidecar, members),
    ]),
    ...(
      [
        [
          'a forged namespace',
          (sidecar) =>
            Object.assign(env(sidecar, 'MACP_AUTH_POD_NAMESPACE'), {
              value: 'payroll',
              valueFrom: undefined,
            }),
        ],
        [
          'a forged ServiceAccount',
          (sidecar) =>
            Object.assign(env(sidecar, 'MACP_AUTH_SERVICE_ACCOUNT'), {
              valueFrom: { fieldRef: { fieldPath: "metadata.annotations['me']" } },
            }),
        ],
        ['other files', (sidecar) => Object.assign(env(sidecar, 'MACP_AUTH_FILES_DIR'), { value: '/tmp' })],
        [
          'a mint for the whole network',
          (sidecar) => Object.assign(env(sidecar, 'MACP_AUTH_BIND_ADDRESS'), { value: '0.0.0.0' }),
        ],
        [
          'options of its own',
          (sidecar) => sidecar.env?.push({ name: 'NODE_OPTIONS', value: '--inspect=0.0.0.0' }),
        ],
        ['a variable less', (sidecar) => sidecar.env?.pop()],
        ['a variable twice', (sidecar) => sidecar.env?.splice(0, 1, { name: 'PORT', value: '1' })],
      ] as [string, (sidecar: Container) => void][]
    ).map(([what, change]): [string, string, (pod: Pod, sidecar: Container) => void] => [
      what,
      'the environment of the init container macp-auth-sidecar must be MACP_AUTH_FILES_DIR=/var/run/macp-auth, MACP_AUTH_BIND_ADDRESS=127.0.0.1, PORT=3200, MACP_AUTH_HEALTH_PORT=3201, MACP_AUTH_HEALTH_BIND_ADDRESS from the field status.podIP, MACP_AUTH_POD_NAMESPACE from the field metadata.namespace, MACP_AUTH_SERVICE_ACCOUNT from the field spec.serviceAccountName, and nothing else',
      (_, sidecar) => change(sidecar),
    ]),
    ...(
      [
        [
          'a further mount',
          (sidecar) => sidecar.volumeMounts?.push({ name: 'macp-auth-no-token', mountPath: '/x' }),
        ],
        [
          'files that can be written',
          (sidecar) => Object.assign(sidecar.volumeMounts?.[0] ?? {}, { readOnly: false }),
        ],
        [
          'files that never change',
          (sidecar) => Object.assign(sidecar.volumeMounts?.[0] ?? {}, { subPath: 'keys.json' }),
        ],
        ['a token of the API server', (sidecar) => sidecar.volumeMounts?.pop()],
      ] as [string, (sidecar: Container) => void][]
    ).map(([what, change]): [string, string, (pod: Pod, sidecar: Container) => void] => [
      what,
      'the init container macp-auth-sidecar must mount the volume macp-auth-files at /var/run/macp-auth and the volume macp-auth-no-token',
      (_, sidecar) => change(sidecar),
    ]),
    ...(
      [
        { runAsUser: 0, runAsNonRoot: false },
        { allowPrivilegeEscalation: true },
        { readOnlyRootFilesystem: false },
        { capabilities: { drop: ['ALL'], add: ['SYS_PTRACE'] } },
        { seccompProfile: { type: 'Unconfined' } },
      ] as object[]
    ).map((members): [string, string, (pod: Pod, sidecar: Container) => void] => [
      `a sidecar with ${JSON.stringify(members)}`,
      'the securityContext of the init container macp-auth-sidecar must be runAsNonRoot',
      (_, sidecar) => Object.assign(sidecar.securityContext as object, members),
    ]),
    ...(
      [
        ['the files of another issuer', { secret: { secretName: 'macp-auth.payroll.team' } }],
        ['the keyring for files', { secret: { secretName: 'macp-auth-keyring.team' } }],
        ['files that may be missing', { secret: { secretName: '', optional: true } }],
        [
          'some of the files',
          { secret: { secretName: '', items: [{ key: 'keys.json', path: 'keys.json' }] } },
        ],
        ['files from elsewhere', { secret: undefined, emptyDir: {} }],
      ] as [string, { secret?: { secretName: string } }][]
    ).map(([what, source]): [string, string, (pod: Pod) => void] => [
      what,
      'the volume macp-auth-files must be the whole Secret macp-auth.',
      ({ spec }) => {
        if (source.secret?.secretName === '') source.secret.secretName = agentSecret;
        Object.assign(spec.volumes?.[0] ?? {}, source);
      },
    ]),
    [
      'a token in place of none',
      'the volume macp-auth-no-token must be an emptyDir',
      ({ spec }) =>
        Object.assign(spec.volumes?.[1] ?? {}, { emptyDir: undefined, secret: { secretName: 'token' } }),
    ],
    ...['hostNetwork', 'hostPID', 'hostIPC'].map((field): [string, string, (pod: Pod) => void] => [
      field,
      'must not use hostNetwork, hostPID or hostIPC',
      ({ spec }) => Object.assign(spec, { [field]: true }),
    ]),
    [
      'shareProcessNamespace',
      'must not set shareProcessNamespace: its other containers could read the keys',
      ({ spec }) => Object.assign(spec, { shareProcessNamespace: true }),
    ],
  ];

  test.each(attacks)('is refused with %s', async (_, words, change) => {
    await expectRefused(tryCreate(cluster, handWritten(change)), denied, words);
  });

  test('gets no keys of an issuer that is not for its namespace: it does not start', async () => {
    const elsewhere = await cluster.namespace('elsewhere');
    const pod = await create<Pod>(cluster, agentPod(elsewhere, issuer, 'stranger'));
    await eventually('the missing Secret is told', async () =>
      (await cluster.admin.run(['get', 'events', '-n', elsewhere])).includes(`"${agentSecret}" not found`),
    );
    expect((await getPod(cluster, elsewhere, pod.metadata.name ?? '')).status?.phase).toBe('Pending');
    await eventually('the Event that says why', async () =>
      (await cluster.admin.run(['get', 'events', '-n', elsewhere])).includes(
        `MacpAuthIssuer ${namespace}/team has no agents in namespace ${elsewhere}, so this pod gets no keys`,
      ),
    );
  });
});

describe('keys stay out of reach', () => {
  const denied = 'macp-auth-keys';
  const secretKeyRef = () => ({ name: agentSecret, key: 'keys.json' });
  const spread = { name: 'stolen', mountPath: '/stolen' };

  const volumes: [string, () => object][] = [
    ['the agent files', () => ({ secret: { secretName: agentSecret } })],
    ['the keyring', () => ({ secret: { secretName: 'macp-auth-keyring.team' } })],
    ['a projection', () => ({ projected: { sources: [{ secret: { name: agentSecret } }] } })],
    ['a CSI driver', () => ({ csi: { driver: 'x.io', nodePublishSecretRef: { name: agentSecret } } })],
    ['a flex volume', () => ({ flexVolume: { driver: 'a/b', secretRef: { name: agentSecret } } })],
  ];
  test.each(volumes)('of a pod without the label that mounts %s', async (_, source) => {
    const pod = agentPod(namespace, undefined, 'thief', {
      containers: [{ ...agent(), volumeMounts: [spread] }],
      volumes: [{ name: 'stolen', ...source() }],
    });
    const words = 'the volumes stolen refer to Secrets with the signing keys of MACP issuers';
    await expectRefused(tryCreate(cluster, pod), denied, words);
  });

  const environments: [string, () => object][] = [
    ['a variable', () => ({ env: [{ name: 'KEYS', valueFrom: { secretKeyRef: secretKeyRef() } }] })],
    ['all variables', () => ({ envFrom: [{ secretRef: { name: 'macp-auth-keyring.team' } }] })],
  ];
  const containers: [string, (members: object) => object][] = [
    ['a container', (members) => ({ containers: [{ ...agent(), ...members }] })],
    ['an init container', (members) => ({ initContainers: [{ ...agent('first'), ...members }] })],
  ];
  const everyone: [string, () => string | undefined][] = [
    ['with the label', () => issuer],
    ['without the label', () => undefined],
  ];
  const byEnvironment = everyone.flatMap((who) =>
    containers.flatMap((where) =>
      environments.map((what) => [who[0], where[0], what[0], who[1], where[1], what[1]] as const),
    ),
  );
  test.each(byEnvironment)(
    'of a pod %s that gives %s %s from the keys',
    async (_who, _where, _what, who, where, what) => {
      const pod = agentPod(namespace, who(), 'thief', where(what()));
      const words = 'a container takes its environment from a Secret with the signing keys of a MACP issuer';
      await expectRefused(tryCreate(cluster, pod), denied, words);
    },
  );

  test('of a labelled pod whose other volume has the keyring', async () => {
    const pod = agentPod(namespace, issuer, 'thief', {
      volumes: [{ name: 'stolen', secret: { secretName: 'macp-auth-keyring.team' } }],
    });
    await expectRefused(tryCreate(cluster, pod), denied, 'the volumes stolen refer to Secrets');
  });

  test('of a pod that passes for one of the operator', async () => {
    const pod = handWritten(({ metadata }) => Object.assign(metadata.labels ?? {}, managedBy));
    await expectRefused(tryCreate(cluster, pod), denied, 'the volumes macp-auth-files refer to Secrets');
  });

  const mount = { name: 'macp-auth-files', mountPath: '/stolen' };
  test.each(containers)('of %s beside the sidecar that mounts its volume', async (_, where) => {
    const pod = agentPod(namespace, issuer, 'thief', where({ volumeMounts: [mount] }));
    const words = 'only the sidecar macp-auth-sidecar may mount the volume macp-auth-files';
    await expectRefused(tryCreate(cluster, pod), denied, words);
  });

  // Such requests no policy of ours has to refuse.
  const refusedByAll: [string, string, (pod: Pod, sidecar: Container) => void][] = [
    [
      'a variable from a file of the volume',
      'referenced volume must be of type emptyDir',
      ({ spec }) => {
        const fileKeyRef = { volumeName: 'macp-auth-files', path: 'keys.json', key: 'KEYS' };
        Object.assign(spec.containers[0] ?? {}, { env: [{ name: 'KEYS', valueFrom: { fileKeyRef } }] });
      },
    ],
    [
      'two sidecars',
      'Duplicate value: "macp-auth-sidecar"',
      ({ spec }, sidecar) => spec.initContainers?.push(sidecar),
    ],
    [
      'a container that has the name of the sidecar',
      'Duplicate value: "macp-auth-sidecar"',
      ({ spec }) => spec.containers.push({ ...agent('macp-auth-sidecar') }),
    ],
    [
      'two volumes of one name',
      'Duplicate value: "macp-auth-files"',
      ({ spec }) => spec.volumes?.push({ name: 'macp-auth-files', emptyDir: {} }),
    ],
    [
      'a node that is said to have made it',
      'a mirror pod may not reference secrets',
      ({ metadata }) => Object.assign(metadata, { annotations: { 'kubernetes.io/config.mirror': 'x' } }),
    ],
    [
      'a debug container from the start',
      'cannot be set on create',
      ({ spec }) => Object.assign(spec, { ephemeralContainers: [{ name: 'debug', image: 'host' }] }),
    ],
  ];
  test.each(refusedByAll)('of a pod with %s, by the API server itself', async (_, words, change) => {
    expect(await refusalOf(tryCreate(cluster, handWritten(change)))).toContain(words);
  });

  test('of what copies a pod with its volume under another name', async () => {
    const pod = handWritten(({ spec }) => {
      spec.volumes?.push({ name: 'copy', secret: { secretName: agentSecret } });
      Object.assign(spec.containers[0] ?? {}, { volumeMounts: [{ name: 'copy', mountPath: '/stolen' }] });
    });
    await expectRefused(tryCreate(cluster, pod), denied, 'the volumes copy refer to Secrets');
  });

  test('of a registry', async () => {
    const pod = agentPod(namespace, undefined, 'thief', { imagePullSecrets: [{ name: agentSecret }] });
    await expectRefused(
      tryCreate(cluster, pod),
      denied,
      'imagePullSecrets names a Secret with the signing keys',
    );
  });

  test('while Secrets of other names are free', async () => {
    const pod = agentPod(namespace, undefined, 'honest', {
      containers: [
        { ...agent(), envFrom: [{ secretRef: { name: 'macp-authority' } }], volumeMounts: [spread] },
      ],
      volumes: [{ name: 'stolen', secret: { secretName: 'my-macp-auth.files' } }],
    });
    await tryCreate(cluster, pod);
  });
});

describe('a running agent pod', () => {
  const running = 'macp-auth-running-agent-pods';
  const name = 'running';
  beforeAll(async () => {
    const pod = await create<Pod>(cluster, agentPod(namespace, issuer, name));
    await mintedToken(cluster, pod);
    await create(cluster, agentPod(namespace, undefined, 'unlabelled'));
  });

  const patch = (body: object, ...flags: string[]) =>
    cluster.tenant.run([
      'patch',
      'pod',
      name,
      '-n',
      namespace,
      '--dry-run=server',
      '-p',
      JSON.stringify(body),
      ...flags,
    ]);
  const labels = (changed: Record<string, string | null>) => ({ metadata: { labels: changed } });
  const image = (list: string, container: string) => ({
    spec: { [list]: [{ name: container, image: 'host' }] },
  });

  test.each([
    ['changed', () => labels({ [issuerLabel]: 'payroll.team' })],
    ['emptied', () => labels({ [issuerLabel]: '' })],
    ['removed', () => labels({ [issuerLabel]: null })],
  ])('keeps its label from being %s, by a status update too', async (_, body) => {
    const words = `the label ${issuerLabel} of a running pod must stay as it is`;
    await expectRefused(patch(body()), running, words);
    await expectRefused(patch(body(), '--subresource=status'), running, words);
  });

  // The API server takes these of a resize only while no node runs the pod, or when kubelet reports resources.
  test('keeps its label and image in a resize, where the API server looks at nothing but resources', async () => {
    await create(cluster, agentPod(namespace, `${namespace}.absent`, 'waiting'));
    const sidecar = {
      name: 'macp-auth-sidecar',
      image: 'host',
      resources: { limits: { memory: '512Mi' } },
    };
    const args = ['patch', 'pod', 'waiting', '-n', namespace, '--subresource=resize', '-o', 'json'];
    const body = { ...labels({ [issuerLabel]: null }), spec: { initContainers: [sidecar] } };
    const resized: Pod = JSON.parse(await cluster.tenant.run([...args, '-p', JSON.stringify(body)]));
    expect(resized.metadata.labels).toEqual({ [issuerLabel]: `${namespace}.absent` });
    expect(resized.spec.initContainers?.[0]).toMatchObject({
      image: sidecarImage,
      resources: { limits: { memory: '512Mi' } },
    });
  });

  test.each(['pods/unlabelled/binding', 'bindings'])(
    'gets no label by a binding through %s',
    async (path) => {
      const bind = (changed: Record<string, string>) => bindPod(cluster.tenant, 'unlabelled', changed, path);
      for (const changed of [{ [issuerLabel]: issuer }, managedBy]) {
        const words = `a binding must not have the labels ${issuerLabel} and app.kubernetes.io/managed-by`;
        await expectRefused(bind(changed), 'macp-auth-bindings', words);
      }
      expect(await refusalOf(bind({ 'topology.kubernetes.io/zone': 'a' }))).toContain('is already assigned');
    },
  );

  test('gets the label when it is made, or never', async () => {
    const attempt = cluster.tenant.run([
      'label',
      'pod',
      'unlabelled',
      '-n',
      namespace,
      `${issuerLabel}=${issuer}`,
    ]);
    await expectRefused(attempt, running, "Change the label in the pod's template, or delete the pod");
  });

  test('does not become one of the operator by a label', async () => {
    await expectRefused(
      patch(labels(managedBy)),
      running,
      'the label app.kubernetes.io/managed-by of a running pod',
    );
  });

  test("keeps its sidecar's image", async () => {
    const words = 'the image of the init container macp-auth-sidecar must stay as it is';
    await expectRefused(patch(image('initContainers', 'macp-auth-sidecar')), running, words);
  });

  test('may change otherwise', async () => {
    await patch(image('containers', 'agent'));
    await patch({
      metadata: { annotations: { note: 'x' }, labels: { app: 'y' }, finalizers: ['example.com/x'] },
    });
  });

  const attacks: [string, string, () => object][] = [
    [
      "aims at the sidecar's processes",
      'a debug container must not target macp-auth-sidecar',
      () => ({ targetContainerName: 'macp-auth-sidecar' }),
    ],
    [
      'mounts the keys',
      'only the sidecar macp-auth-sidecar may mount the volume macp-auth-files',
      () => ({ volumeMounts: [{ name: 'macp-auth-files', mountPath: '/stolen' }] }),
    ],
    [
      'has a key as a variable',
      'a container takes its environment from a Secret with the signing keys',
      () => ({
        env: [{ name: 'KEYS', valueFrom: { secretKeyRef: { name: agentSecret, key: 'keys.json' } } }],
      }),
    ],
    [
      'has the keys as variables',
      'a container takes its environment from a Secret with the signing keys',
      () => ({ envFrom: [{ secretRef: { name: agentSecret } }] }),
    ],
  ];
  const debug = (members: object) =>
    patch(
      { spec: { ephemeralContainers: [{ name: 'debug', image: 'host', command: ['sh'], ...members }] } },
      '--subresource=ephemeralcontainers',
    );
  test.each(attacks)('takes no debug container that %s', async (_, words, members) => {
    await expectRefused(debug(members()), 'macp-auth-keys', words);
  });

  test('takes debug containers otherwise', async () => {
    await debug({ targetContainerName: 'agent' });
  });

  test('lets nobody into the sidecar', async () => {
    const words =
      'exec and attach to macp-auth-sidecar are refused, since it holds signing keys: choose another container';
    const into = ['-n', namespace, name, '-c', 'macp-auth-sidecar'];
    await expectRefused(cluster.tenant.run(['exec', ...into, '--', 'ls']), 'macp-auth-sidecar-access', words);
    await expectRefused(cluster.tenant.run(['attach', ...into]), 'macp-auth-sidecar-access', words);
    // Also where kubectl is told that it is the default.
    const pod = agentPod(namespace, issuer, 'defaulting');
    pod.metadata.annotations = { 'kubectl.kubernetes.io/default-container': 'macp-auth-sidecar' };
    await create(cluster, pod);
    const attempt = cluster.tenant.run(['exec', '-n', namespace, 'defaulting', '--', 'ls']);
    await expectRefused(attempt, 'macp-auth-sidecar-access', words);
  });

  test('lets people into the agent, which is where a request without a container goes', async () => {
    // There is no kubelet to answer: what counts is that no policy refuses.
    const path = `/api/v1/namespaces/${namespace}/pods/${name}/exec`;
    const answer = await cluster.client
      .open('POST', path, { query: { command: 'ls', stdout: 'true' } })
      .catch((error) => error);
    expect(String(answer.message)).not.toContain('ValidatingAdmissionPolicy');
  });
});

describe("the operator's objects", () => {
  const denied = 'macp-auth-objects';
  const words = "are the operator's alone, and tenant must not ";
  const server = 'macp-auth-team';

  test.each([
    ['a ConfigMap with its label', () => configMap('mine', managedBy)],
    ['a Secret with its label', () => secret('mine', 'Opaque', managedBy)],
    ['a Secret of its type keyring', () => secret('mine', `${group}/keyring`)],
    ['a Secret of its type agent-files', () => secret('mine', `${group}/agent-files`)],
    ['the name of an agent Secret', () => secret('macp-auth.payroll.team', 'Opaque')],
    ['the name of a keyring', () => secret('macp-auth-keyring.payroll', 'Opaque')],
  ])('cannot be forged: %s', async (_, object) => {
    await expectRefused(tryCreate(cluster, object()), denied, `${words}create one`);
  });

  test('are told from Secrets with another name, and from ConfigMaps', async () => {
    await tryCreate(cluster, secret('my-macp-auth.files', 'Opaque'));
    await tryCreate(cluster, secret('macp-auth-mine', 'Opaque'));
    await tryCreate(cluster, configMap('macp-auth.mine'));
  });

  // One that was there before the guards is its owner's, who can make room for the issuer.
  test('leave a Secret that has had the name of one to its owner', async () => {
    const name = 'macp-auth-keyring.squatted';
    await cluster.admin.run(['create', '-f', '-'], JSON.stringify(secret(name, 'Opaque')));
    await onServer('patch', 'secret', name, '-p', '{"data":{"a":"Yg=="}}');
    await onServer('delete', 'secret', name);
  });

  const onServer = (...args: string[]) => cluster.tenant.run([...args, '-n', namespace]);
  test.each([
    [
      'a key added to the JWKS',
      ['patch', 'configmap', server, '-p', '{"data":{"jwks.json":"{}"}}'],
      'update',
    ],
    ['the label taken off', ['label', 'configmap', server, 'app.kubernetes.io/managed-by-'], 'update'],
    [
      'a revision that goes back',
      ['annotate', '--overwrite', 'configmap', server, `${group}/keyring-revision=0`],
      'update',
    ],
    [
      'an owner that is none',
      ['patch', 'configmap', server, '-p', '{"metadata":{"finalizers":["example.com/x"]}}'],
      'update',
    ],
    ['the JWKS deleted', ['delete', 'configmap', server], 'delete'],
    ['the keyring deleted', ['delete', 'secret', 'macp-auth-keyring.team'], 'delete'],
    ['the keyring changed', ['patch', 'secret', 'macp-auth-keyring.team', '-p', '{"data":null}'], 'update'],
  ])('are not written by others: %s', async (_, args, verb) => {
    await expectRefused(onServer(...args), denied, `${words}${verb} one: change the MacpAuthIssuer instead`);
  });

  test('are not deleted by the lot', async () => {
    const all = `/api/v1/namespaces/${namespace}/secrets?labelSelector=app.kubernetes.io/managed-by=macp-auth-operator`;
    await expectRefused(cluster.tenant.run(['delete', '--raw', all]), denied, `${words}delete one`);
  });

  test('take no label from a stranger later on', async () => {
    await create(cluster, configMap('later'));
    await expectRefused(
      onServer('label', 'configmap', 'later', 'app.kubernetes.io/managed-by=macp-auth-operator'),
      denied,
      `${words}update one`,
    );
    await onServer('label', 'configmap', 'later', 'app.kubernetes.io/managed-by=me');
  });

  test('may be written back as they are, to have them encrypted anew', async () => {
    const name = objectNames({ namespace, name: 'team' }).keyring;
    const text = await onServer('get', 'secret', name, '-o', 'json');
    await cluster.tenant.run(['replace', '-f', '-'], text);
  });

  test('may be restored and deleted by exempt administrators', async () => {
    const key = objectNames({ namespace, name: 'restored' }).keyring;
    await cluster.admin.run(
      ['create', '-f', '-'],
      JSON.stringify(secret(key, `${group}/keyring`, managedBy)),
    );
    await cluster.admin.run(['delete', 'secret', key, '-n', namespace]);
  });

  test('go with their namespace', async () => {
    const other = await cluster.namespace('going');
    await cluster.issuer(other, 'team');
    await cluster.ready(other, 'team');
    await cluster.tenant.run(['delete', 'namespace', other, '--timeout=60s']);
  }, 120_000);

  test('may be collected by the controllers of the cluster, not changed', async () => {
    const as = (controller: string, ...args: string[]) =>
      cluster.admin.run([
        ...args,
        '-n',
        namespace,
        '--as',
        `system:serviceaccount:kube-system:${controller}`,
      ]);
    const collector = 'generic-garbage-collector';
    await as(collector, 'delete', 'configmap', server, '--dry-run=server');
    await as('namespace-controller', 'delete', 'configmap', server, '--dry-run=server');
    const untie = '{"metadata":{"ownerReferences":null}}';
    await as(collector, 'patch', 'configmap', server, '--dry-run=server', '-p', untie);
    const attempt = as(collector, 'patch', 'configmap', server, '-p', '{"data":{"jwks.json":"{}"}}');
    await expectRefused(attempt, denied, "are the operator's alone");
  });
});

// These two change what is installed.
describe('an exempt administrator', () => {
  const name = 'watched';
  beforeAll(() => create(cluster, agentPod(namespace, issuer, name)));

  const make = (object: () => object) => (who: Kubectl) =>
    who.run(['create', '--dry-run=server', '-f', '-'], JSON.stringify(object()));
  const patch = (body: object, ...flags: string[]) => {
    const args = ['patch', 'pod', name, '--dry-run=server', '-p', JSON.stringify(body), ...flags];
    return (who: Kubectl) => who.run([...args, '-n', namespace]);
  };
  const debugContainer = { name: 'debug', image: 'host', targetContainerName: 'macp-auth-sidecar' };
  const hostNetwork = (change: (pod: Pod) => void = () => {}) =>
    handWritten((pod) => {
      pod.spec.hostNetwork = true;
      change(pod);
    });
  const attempts: [policy: string, what: string, attempt: (who: Kubectl) => Promise<unknown>][] = [
    ['macp-auth-new-agent-pods', "a pod in the host's network", make(() => hostNetwork())],
    [
      'macp-auth-new-agent-pods',
      "a pod with another sidecar's image",
      make(() => handWritten((_, sidecar) => Object.assign(sidecar, { image: nextSidecarImage }))),
    ],
    [
      'macp-auth-keys',
      'a pod that mounts the keys',
      make(() =>
        agentPod(namespace, undefined, 'reader', {
          volumes: [{ name: 'keys', secret: { secretName: agentSecret } }],
        }),
      ),
    ],
    [
      'macp-auth-keys',
      "a debug container aimed at the sidecar's processes",
      patch({ spec: { ephemeralContainers: [debugContainer] } }, '--subresource=ephemeralcontainers'),
    ],
    [
      'macp-auth-running-agent-pods',
      "a running pod's label",
      patch({ metadata: { labels: { [issuerLabel]: 'payroll.team' } } }),
    ],
    [
      'macp-auth-sidecar-access',
      'a program in the sidecar',
      (who) => who.run(['exec', name, '-n', namespace, '-c', 'macp-auth-sidecar', '--', 'ls']),
    ],
    [
      'macp-auth-bindings',
      'a binding with the label',
      (who) => bindPod(who, name, { [issuerLabel]: issuer }),
    ],
    ['macp-auth-objects', "an object with the operator's label", make(() => configMap('mine', managedBy))],
  ];
  const isRefused = async (policy: string, attempt: Promise<unknown>) =>
    (await refusalOf(attempt)).includes(`ValidatingAdmissionPolicy '${policy}' with binding '${policy}'`);
  // Who is refused which of them.
  const refused = async (who: Kubectl) => {
    const found: string[] = [];
    for (const [policy, what, attempt] of attempts)
      if (await isRefused(policy, attempt(who))) found.push(what);
    return found;
  };
  const all = attempts.map(([, what]) => what);
  const installed = (users: string[], groups: string[]) => {
    const people = { users, groups };
    return cluster.install({ values: { guards: { exempt: { objects: people, pods: people } } } });
  };

  test('is by default one from the guard of objects alone', async () => {
    expect(await refused(cluster.tenant)).toEqual(all);
    expect(await refused(cluster.admin)).toEqual(all.slice(0, -1));
  }, 60_000);

  test('passes each guard that the chart says, and others do not', async () => {
    await installed([], ['system:masters']);
    await eventually('the exemption', async () => (await refused(cluster.admin)).length === 0);
    expect(await refused(cluster.tenant)).toEqual(all);
    // And no other policy is in the way. There is no kubelet to run the program, and the pod is bound already.
    for (const [policy, , attempt] of attempts) {
      if (!['macp-auth-sidecar-access', 'macp-auth-bindings'].includes(policy)) await attempt(cluster.admin);
    }
  }, 60_000);

  test('is told as others are of a pod that asks for a sidecar in vain', async () => {
    const denied = 'macp-auth-new-agent-pods';
    const labelled = make(() => agentPod(namespace, 'team', 'x'));
    await expectRefused(labelled(cluster.admin), denied, `the label ${issuerLabel} is 'team'`);
    const annotated = make(() => {
      const pod = agentPod(namespace, issuer, 'x');
      pod.metadata.annotations = { [`${group}/sidecar-port`]: 'http' };
      return pod;
    });
    await expectRefused(annotated(cluster.admin), denied, `the annotation ${group}/sidecar-port is 'http'`);
  });

  test('is not one for the pods of a controller, whose template anybody may have written', async () => {
    const owner = { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'x', uid: 'x', controller: true };
    const controlled = make(() =>
      hostNetwork(({ metadata }) => Object.assign(metadata, { ownerReferences: [owner] })),
    );
    expect(await isRefused('macp-auth-new-agent-pods', controlled(cluster.admin))).toBe(true);
    // The controller manager of this cluster is one of system:masters.
    const thief = {
      restartPolicy: 'Never',
      volumes: [{ name: 'stolen', secret: { secretName: agentSecret } }],
    };
    for (const [job, spec] of [
      ['host', { restartPolicy: 'Never', hostNetwork: true }],
      ['thief', thief],
    ] as const) {
      const template = podTemplate(issuer, job, spec);
      await create(cluster, {
        apiVersion: 'batch/v1',
        kind: 'Job',
        metadata: { name: job, namespace },
        spec: { template },
      });
    }
    const events = () =>
      cluster.admin.run(['get', 'events', '-n', namespace, '--field-selector=reason=FailedCreate']);
    await eventually('the refusals', async () => {
      const told = await events();
      return (
        told.includes('must not use hostNetwork') && told.includes('the volumes stolen refer to Secrets')
      );
    });
    await cluster.tenant.run(['delete', 'job', 'host', 'thief', '-n', namespace]);
  }, 60_000);

  test('is who the chart names, and with empty lists nobody', async () => {
    await installed(['tenant'], []);
    await eventually('the exemption', async () => (await refused(cluster.tenant)).length === 0);
    await eventually("the others' end", async () => (await refused(cluster.admin)).length === all.length);
    await installed([], []);
    await eventually('nobody', async () => (await refused(cluster.tenant)).length === all.length);
    expect(await refused(cluster.admin)).toEqual(all);
    await cluster.install();
    await eventually('its end', async () => (await refused(cluster.admin)).length < all.length);
  }, 120_000);
});

// Last, since it installs another image.
describe('an upgrade of the chart to another image', () => {
  test('leaves older pods be: a Job from before completes, the files are followed, and new pods get the new image', async () => {
    const waiting = { ...shortAgent(), command: [...(shortAgent().command as string[])] };
    waiting.command[3] += " process.on('SIGTERM', () => process.exit(0)); setInterval(() => {}, 1000);";
    await create(cluster, {
      apiVersion: 'batch/v1',
      kind: 'Job',
      metadata: { name: 'older', namespace },
      spec: { template: podTemplate(issuer, 'older', { restartPolicy: 'Never', containers: [waiting] }) },
    });
    const pod = await eventually('its pod', async () => (await podsOf(cluster, namespace, 'older'))[0]);
    await mintedToken(cluster, pod);

    await cluster.install({ sidecarImage: nextSidecarImage });
    const fresh = await tryCreate<Pod>(cluster, agentPod(namespace, issuer, 'fresh'));
    expect(fresh.spec.initContainers?.[0]?.image).toBe(nextSidecarImage);
    // A pod written for the older chart is a new one all the same.
    const words = `must have the image ${nextSidecarImage}: leave the container away, and it is injected, or correct its image. Where the chart was upgraded and templates still name an earlier image, add that one to the chart's sidecar.alsoAllowedImages`;
    await expectRefused(tryCreate(cluster, asInjected()), 'macp-auth-new-agent-pods', words);

    const annotation = () =>
      cluster.client
        .get(resources.pods, namespace, pod.metadata.name ?? '')
        .then(({ metadata }) => metadata.annotations?.[`${group}/files-version`]);
    await cluster.tenant.run([
      'patch',
      'mai',
      'team',
      '-n',
      namespace,
      '--type=merge',
      '-p',
      '{"spec":{"ttl":{"max":"2h"}}}',
    ]);
    await eventually('the touch of an older pod', annotation);
    process.kill(
      cluster.kubelet.pod(namespace, pod.metadata.name ?? '')?.containers.agent?.pid ?? 0,
      'SIGTERM',
    );
    await cluster.admin.run([
      'wait',
      '-n',
      namespace,
      '--for=condition=Complete',
      'job/older',
      '--timeout=60s',
    ]);
  }, 120_000);

  test("takes a template's sidecar of before for as long as its image is also allowed, and leaves it as it is", async () => {
    const denied = 'macp-auth-new-agent-pods';
    await cluster.install({
      sidecarImage: nextSidecarImage,
      values: { sidecar: { alsoAllowedImages: [sidecarImage, 'macp-auth-sidecar:oldest'] } },
    });
    const made = await eventually('the further image', () => tryCreate<Pod>(cluster, asInjected()));
    expect(made.spec.initContainers).toMatchObject([injected(issuer).container]);
    const again = await tryCreate<Pod>(cluster, made);
    expect(again.spec).toEqual(made.spec);
    const older = handWritten((_, sidecar) => Object.assign(sidecar, { image: 'macp-auth-sidecar:oldest' }));
    await tryCreate(cluster, older);

    // The chart's own is still the one that is injected, and all else is asked as before.
    const fresh = await tryCreate<Pod>(cluster, agentPod(namespace, issuer, 'fresh'));
    expect(fresh.spec.initContainers?.[0]?.image).toBe(nextSidecarImage);
    const other = handWritten((_, sidecar) => Object.assign(sidecar, { image: 'host' }));
    await expectRefused(tryCreate(cluster, other), denied, `must have the image ${nextSidecarImage}`);
    const forged = handWritten((_, sidecar) => Object.assign(sidecar, { command: ['sh'] }));
    await expectRefused(tryCreate(cluster, forged), denied, 'must have restartPolicy Always');

    await cluster.install({ sidecarImage: nextSidecarImage });
    await eventually('its end', async () =>
      (await refusalOf(tryCreate(cluster, asInjected()))).includes('must have the image'),
    );
  }, 120_000);
});
