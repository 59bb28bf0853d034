import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from 'jose';
import { objectNames } from '../../operator/api/names.ts';
import { jwksPath } from '../../operator/build/server.ts';
import { type KubeObject, type Resource, resources } from '../../operator/cluster/resources.ts';
import { agentPod } from './agent-pod.ts';
import { type Bench, eventually, openBench } from './support.ts';

describe('an issuer', () => {
  let bench: Bench;
  const name = 'first';

  beforeAll(async () => {
    bench = await openBench('issuer');
    bench.operator();
    await bench.apply(name);
    await bench.ready(name);
  }, 120_000);
  afterAll(() => bench?.close(), 60_000);

  const serverPods = async () => {
    const pods = await bench.client.list(resources.pods, bench.namespace, {
      labelSelector: `app.kubernetes.io/instance=${name},app.kubernetes.io/component=jwks-server`,
    });
    return pods.items;
  };
  const jwksURLs = async () =>
    (await serverPods()).map((pod) => `http://${(pod.status as { podIP: string }).podIP}:3200${jwksPath}`);

  test('gets one active key and two published spares, and says so', async () => {
    const issuer = await bench.ready(name);
    expect(issuer.status?.keys?.map(({ state }) => state)).toEqual(['Active', 'Next', 'Next']);
    expect(new Set(await bench.published(name))).toEqual(new Set(bench.keyIDs(issuer)));
    expect(issuer.status?.jwksURL).toBe(`http://macp-auth-${name}.${bench.namespace}.svc${jwksPath}`);
    expect(issuer.status?.conditions?.filter(({ status }) => status !== 'True')).toEqual([]);
    expect(await bench.kubectl.run(['get', 'mai', name, '-n', bench.namespace])).toMatch(
      /True +Ready +ES256/,
    );
  });

  test('hands agents the active private key only, and the server none', async () => {
    const issuer = await bench.ready(name);
    const { keys, jwks } = await bench.agentFiles(name);
    expect(keys.map(({ kid }) => kid)).toEqual([issuer.status?.activeKeyID]);
    expect(jwks.map(({ kid }) => kid)).toEqual(await bench.published(name));
    for (const url of await jwksURLs()) {
      const served = (await (await fetch(url)).json()) as { keys: object[] };
      for (const key of served.keys) {
        expect(Object.keys(key).sort()).toEqual(['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y']);
      }
    }
  });

  test('lets a pod mint a token that its published keys verify', async () => {
    const mintURL = await agentPod(bench, name);
    const response = await fetch(mintURL, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ sender: 'agent://one', ttl_seconds: 60 }),
    });
    const { token } = (await response.json()) as { token: string };
    const [url] = await jwksURLs();
    const jwks = (await (await fetch(url as string)).json()) as JSONWebKeySet;
    const { payload, protectedHeader } = await jwtVerify(token, createLocalJWKSet(jwks), {
      issuer: 'macp-auth-service',
      audience: 'macp-runtime',
    });
    expect(protectedHeader.kid).toBe((await bench.issuer(name)).status?.activeKeyID);
    expect(payload).toMatchObject({ sub: 'agent://one', macp_scopes: {} });
  }, 120_000);

  const children: [string, Resource][] = [
    ['the JWKS ConfigMap', resources.configMaps],
    ['the Deployment', resources.deployments],
    ['the Service', resources.services],
    ['the PodDisruptionBudget', resources.podDisruptionBudgets],
  ];

  test.each(children)('brings %s back when it is deleted', async (_, resource) => {
    const child = objectNames({ namespace: bench.namespace, name }).server;
    const before = await bench.client.get(resource, bench.namespace, child);
    await bench.kubectl.run(['delete', resource.plural, child, '-n', bench.namespace, '--wait=false']);
    const after = await eventually('a new one', async () => {
      const found = await bench.client.find(resource, bench.namespace, child);
      return found && found.metadata.uid !== before.metadata.uid && found;
    });
    expect(after.metadata.labels).toEqual(before.metadata.labels);
    expect(after.metadata.ownerReferences).toEqual(before.metadata.ownerReferences);
  });

  test.each<[string, Resource, string, (object: KubeObject) => unknown, unknown]>([
    [
      'the JWKS',
      resources.configMaps,
      '{"data":{"jwks.json":"{\\"keys\\":[]}"}}',
      (object) => (object.data as Record<string, string>)['jwks.json']?.includes('"keys":[]'),
      false,
    ],
    [
      'the number of replicas',
      resources.deployments,
      '{"spec":{"replicas":5}}',
      (object) => (object.spec as { replicas: number }).replicas,
      2,
    ],
    [
      'the Service port',
      resources.services,
      '[{"op":"replace","path":"/spec/ports/0/port","value":81}]',
      (object) => (object.spec as { ports: { port: number }[] }).ports.map(({ port }) => port),
      [80],
    ],
    [
      'the disruption budget',
      resources.podDisruptionBudgets,
      '{"spec":{"maxUnavailable":2}}',
      (object) => (object.spec as { maxUnavailable: number }).maxUnavailable,
      1,
    ],
    [
      'a file that was added to the JWKS',
      resources.configMaps,
      '{"data":{"keys.json":"{}"}}',
      (object) => Object.keys(object.data as object).sort(),
      ['jwks.json', 'settings.json'],
    ],
    [
      'a variable that was added to the server',
      resources.deployments,
      '[{"op":"add","path":"/spec/template/spec/containers/0/env/-","value":{"name":"NODE_OPTIONS","value":"--inspect"}}]',
      (object) => {
        const { template } = object.spec as {
          template: { spec: { containers: { env: { name: string }[] }[] } };
        };
        return template.spec.containers[0]?.env
          .map(({ name: variable }) => variable)
          .includes('NODE_OPTIONS');
      },
      false,
    ],
    [
      'a label',
      resources.deployments,
      '{"metadata":{"labels":{"app.kubernetes.io/managed-by":null}}}',
      (object) => object.metadata.labels?.['app.kubernetes.io/managed-by'],
      'macp-auth-operator',
    ],
  ])('repairs %s when it is edited', async (_, resource, patch, read, expected) => {
    const child = objectNames({ namespace: bench.namespace, name }).server;
    const type = patch.startsWith('[') ? 'json' : 'merge';
    const edited = await bench.kubectl.run([
      ...[
        'patch',
        resource.plural,
        child,
        '-n',
        bench.namespace,
        `--type=${type}`,
        '-p',
        patch,
        '-o',
        'json',
      ],
    ]);
    expect(read(JSON.parse(edited))).not.toEqual(expected);
    await eventually('the repair', async () => {
      const found = await bench.client.get(resource, bench.namespace, child);
      return JSON.stringify(read(found)) === JSON.stringify(expected);
    });
  });

  test('repairs its agent Secret when it is edited or deleted', async () => {
    const secretName = objectNames({ namespace: bench.namespace, name }).agentSecret;
    const before = (await bench.secret(secretName))?.data;
    await bench.kubectl.run([
      ...[
        'patch',
        'secret',
        secretName,
        '-n',
        bench.namespace,
        '--type=merge',
        '-p',
        '{"data":{"settings.json":"e30="}}',
      ],
    ]);
    const same = async () =>
      JSON.stringify((await bench.secret(secretName))?.data) === JSON.stringify(before);
    await eventually('the edit undone', same);
    await bench.kubectl.run(['delete', 'secret', secretName, '-n', bench.namespace]);
    await eventually('the Secret back', same);
  });

  test('follows its spec: settings, replicas, and what is taken away again', async () => {
    await bench.apply(name, {
      ttl: { default: '90s', max: '10m' },
      server: { replicas: 1, nodeSelector: { disk: 'ssd' } },
    });
    const read = async () =>
      (await bench.client.get(resources.deployments, bench.namespace, `macp-auth-${name}`)).spec;
    type Spec = { replicas: number; template: { spec: { nodeSelector?: object } } };
    await eventually('the node selector', async () => ((await read()) as Spec).template.spec.nodeSelector);
    await eventually(
      'the settings',
      async () => (await bench.agentFiles(name)).settings.maxTTLSeconds === 600,
    );
    expect((await bench.agentFiles(name)).settings.defaultTTLSeconds).toBe(90);
    await bench.apply(name);
    await eventually(
      'the node selector gone',
      async () => ((await read()) as Spec).template.spec.nodeSelector === undefined,
    );
    expect(((await read()) as Spec).replicas).toBe(2);
    await bench.ready(name);
  }, 120_000);

  test('is not written to once it is settled', async () => {
    await bench.ready(name);
    // The second server pod may still be on its way.
    const before = await bench.quiet();
    await new Promise((resolve) => setTimeout(resolve, 5_000));
    expect((await bench.writes()).slice(before.length)).toEqual([]);
  }, 120_000);

  test('needs at most twelve writes to get there', async () => {
    const before = await bench.writes();
    await bench.apply('counted');
    await bench.ready('counted');
    const server = objectNames({ namespace: bench.namespace, name: 'counted' }).server;
    await eventually('both servers', async () => {
      const { status } = await bench.client.get(resources.deployments, bench.namespace, server);
      return (status as { availableReplicas?: number }).availableReplicas === 2;
    });
    const writes = (await bench.quiet()).slice(before.length);
    expect(writes).toContain('create secrets macp-auth-keyring.counted');
    expect({ writes, atMost: 12 }).toEqual({ writes: writes.slice(0, 12), atMost: 12 });
  }, 120_000);
});
