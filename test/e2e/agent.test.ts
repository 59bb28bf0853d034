import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from 'jose';
import { eventually, issuerLabel, openPlace, type Place } from './place.ts';
import {
  agentPod,
  agentSpec,
  firstLine,
  linesOf,
  podIPOf,
  providePrograms,
  readInside,
  runScript,
} from './pods.ts';

jest.setTimeout(240_000);

let place: Place;
let jwks: JSONWebKeySet;

beforeAll(async () => {
  place = await openPlace('agents');
  await providePrograms(place);
  for (const name of ['planner', 'helper', 'stranger'])
    await place.kubectl(['create', 'serviceaccount', name]);
  const grants = [
    { serviceAccounts: ['planner'], sender: 'agent://{namespace}/{serviceAccount}', maxTTL: '2m' },
    {
      serviceAccounts: ['helper'],
      sender: 'agent://{namespace}/{serviceAccount}',
      scopes: { can_start_sessions: false },
    },
  ];
  const [plain] = await Promise.all([place.ready('plain'), place.ready('granted', { agents: { grants } })]);
  jwks = JSON.parse(await readInside(place, 'keys', plain.status?.jwksURL as string));
}, 900_000);
afterAll(() => place?.close());

const claimsOf = async (token: string, keys = jwks) =>
  (await jwtVerify(token, createLocalJWKSet(keys), { issuer: 'macp-auth-service', audience: 'macp-runtime' }))
    .payload;

test('the pods of a labelled Deployment have the sidecar, and their agents mint tokens that the published keys verify', async () => {
  const app = { app: 'deployed' };
  await place.apply({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'deployed' },
    spec: {
      replicas: 2,
      selector: { matchLabels: app },
      template: {
        metadata: { labels: { ...app, ...issuerLabel({ namespace: place.namespace, name: 'plain' }) } },
        spec: agentSpec(place, 'stay', { SENDER: 'agent://deployed' }),
      },
    },
  });
  await place.wait('deployment/deployed', 'Available');
  const pods = await place.pods('app=deployed');
  expect(pods).toHaveLength(2);
  for (const { metadata, spec } of pods) {
    const { initContainers } = spec as { initContainers: { name: string; image: string }[] };
    expect(initContainers).toMatchObject([
      { name: 'macp-auth-sidecar', image: place.cluster.images.sidecar },
    ]);
    const { token } = await firstLine(place, `pod/${metadata.name}`, 'token');
    expect(await claimsOf(token)).toMatchObject({ sub: 'agent://deployed', macp_scopes: {} });
  }
});

test('a labelled Job mints, and completes', async () => {
  await place.apply({
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name: 'work' },
    spec: {
      backoffLimit: 0,
      template: {
        metadata: { labels: issuerLabel({ namespace: place.namespace, name: 'plain' }) },
        spec: { restartPolicy: 'Never', ...agentSpec(place, 'mint', { SENDER: 'agent://job' }) },
      },
    },
  });
  await place.wait('job/work', 'Complete');
  expect(await claimsOf((await firstLine(place, 'job/work', 'token')).token)).toMatchObject({
    sub: 'agent://job',
  });
});

test('nobody gets into the sidecar by exec, and the agent beside it has no keys', async () => {
  const list = "console.log(require('node:fs').readdirSync('/var/run').join())";
  const exec = (container: string) =>
    place.kubectl(['exec', 'deployment/deployed', '-c', container, '--', '/usr/local/bin/node', '-e', list]);
  await expect(exec('macp-auth-sidecar')).rejects.toThrow(/macp-auth-sidecar-access.*denied/s);
  // The same way into the agent works, so it was the policy that refused.
  expect((await exec('agent')).split(',')).not.toContain('macp-auth');
});

test('an agent reaches its sidecar on localhost only: no other pod can mint there', async () => {
  const [pod] = await place.pods('app=deployed');
  const podIP = podIPOf(pod);
  const ask = (port: number, path: string) =>
    runScript(
      place,
      `ask-${port}`,
      `const r = await fetch('http://${podIP}:${port}${path}').catch((e) => ({ status: e.cause.code })); console.log(r.status)`,
    );
  expect(await ask(3201, '/readyz')).toBe('200');
  expect(await ask(3200, '/.well-known/jwks.json')).toBe('ECONNREFUSED');
});

test('a grant pins what a ServiceAccount mints, and who has none mints nothing', async () => {
  const pod = (name: string, serviceAccountName: string, env: Record<string, string> = {}) =>
    agentPod(place, 'granted', name, 'mint', { env, spec: { serviceAccountName } });
  await place.apply(
    pod('planner', 'planner'),
    pod('false-planner', 'planner', { SENDER: 'agent://somebody-else' }),
    pod('helper', 'helper'),
    pod('greedy-helper', 'helper', { SCOPES: '{"can_start_sessions":true}' }),
    pod('stranger', 'stranger'),
  );
  const granted = await place.issuer('granted');
  const keys = JSON.parse(await readInside(place, 'keys', granted.status?.jwksURL as string));
  const minted = async (name: string) =>
    claimsOf((await firstLine(place, `pod/${name}`, 'token')).token, keys);
  expect(await minted('planner')).toMatchObject({ sub: `agent://${place.namespace}/planner` });
  expect(await minted('helper')).toMatchObject({
    sub: `agent://${place.namespace}/helper`,
    macp_scopes: { can_start_sessions: false },
  });
  const refused = async (name: string) => (await firstLine(place, `pod/${name}`, 'failure')).problem;
  expect(await refused('false-planner')).toMatch(/^403 .*sender is beyond the grant/);
  expect(await refused('greedy-helper')).toMatch(/^403 .*can_start_sessions/);
  expect(await refused('stranger')).toMatch(/^403 /);
});

test('a pod that comes before its issuer waits, hears why, and starts by itself', async () => {
  await place.apply(agentPod(place, 'late', 'early', 'mint', { env: { SENDER: 'agent://early' } }));
  await eventually('an Event that says why', async () => {
    const args = ['get', 'events', '--field-selector', 'involvedObject.name=early', '-o'];
    const reasons = await place.kubectl([...args, 'jsonpath={.items[*].reason}']);
    if (reasons.includes('IssuerNotFound')) return true;
    throw new Error(reasons);
  });
  expect(await linesOf(place, 'pod/early').catch((error: Error) => error.message)).toMatch(
    /waiting to start/,
  );
  await place.ready('late');
  // Kubelet tries to mount again after up to two minutes.
  await eventually(
    'a token',
    async () => {
      const lines = await linesOf(place, 'pod/early');
      return lines.some(({ event }) => event === 'token');
    },
    150,
  );
});
