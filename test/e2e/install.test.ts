import { execFile } from 'node:child_process';
import { mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { serverPodSelector } from '../../operator/build/server.ts';
import { resources } from '../../operator/cluster/resources.ts';
import { release } from '../support/helm.ts';
import { eventually, openPlace, type Place } from './place.ts';
import { podIPOf, readInside, runScript } from './pods.ts';

jest.setTimeout(300_000);

let place: Place;
beforeAll(async () => {
  place = await openPlace('install');
}, 900_000);
afterAll(() => place?.close());

const kids = (jwks: string): string[] =>
  JSON.parse(jwks)
    .keys.map(({ kid }: { kid: string }) => kid)
    .sort();

test('the pods of the Deployment are Ready, and one of them leads', async () => {
  const { client } = place.cluster;
  const { items } = await client.list(resources.pods, release.namespace, {
    labelSelector: 'app.kubernetes.io/component=operator',
  });
  expect(items).toHaveLength(2);
  const names = items.map(({ metadata }) => metadata.name);
  const [lease] = (await client.list(resources.leases, release.namespace, {})).items;
  const { holderIdentity = '' } = (lease?.spec ?? {}) as { holderIdentity?: string };
  expect(names.filter((name) => holderIdentity.includes(name))).toHaveLength(1);
  for (const name of names) {
    const args = ['wait', '-n', release.namespace, `pod/${name}`, '--for=condition=Ready', '--timeout=60s'];
    await place.cluster.kubectl.run(args);
  }
});

test('an issuer without a wish of its own is Ready, and its Service and both its servers have its keys', async () => {
  const { status } = await place.ready('plain');
  const expected = status?.keys?.map(({ keyID }) => keyID).sort();
  expect(expected).toHaveLength(3);
  expect(kids(await readInside(place, 'by-name', status?.jwksURL as string))).toEqual(expected);
  const pods = await place.pods(`${serverPodSelector},app.kubernetes.io/instance=plain`);
  expect(pods).toHaveLength(2);
  for (const pod of pods) {
    // A pod's own address waits for nobody: a server that is Ready answers at once.
    const script = `console.log(await (await fetch('http://${podIPOf(pod)}:3200/.well-known/jwks.json')).text())`;
    expect(kids(await runScript(place, `of-${pod.metadata.name}`, script))).toEqual(expected);
  }
});

test('the commands that the notes of the release give do what they say', async () => {
  const status = JSON.parse(await place.cluster.helm(['status', release.name, '--output', 'json']));
  const notes: string = status.info.notes;
  expect(notes).not.toMatch(/\bis off\b/i);
  const script = notes
    .split('\n')
    .filter((line) => line.startsWith('  '))
    .map((line) => line.slice(2))
    .join('\n');
  const bin = await mkdtemp(join(tmpdir(), 'macp-notes-'));
  await symlink(place.cluster.kubectlPath, join(bin, 'kubectl'));
  const env = { PATH: `${bin}:${process.env.PATH}`, HOME: bin, KUBECONFIG: place.cluster.kubeconfigPath };
  try {
    const { stdout } = await promisify(execFile)('sh', ['-euc', script], { env });
    expect(stdout).toContain('successfully rolled out');
    expect(stdout).toMatch(/team (created|configured|unchanged)/);
    expect(stdout).toMatch(/^NAMESPACE +NAME +READY/m);
    await place.cluster.kubectl.run([
      'wait',
      '-n',
      'default',
      'mai/team',
      '--for=condition=Ready',
      '--timeout=90s',
    ]);
  } finally {
    await place.cluster.kubectl.run(['delete', '-n', 'default', 'mai/team', '--timeout=60s']);
    await rm(bin, { recursive: true });
  }
});

test('helm test passes', async () => {
  const output = await place.cluster.helm(['test', release.name, '--timeout', '120s']);
  expect(output).toMatch(/Phase: +Succeeded/);
});

test('an issuer that is deleted takes all of its own along but the keyring', async () => {
  await place.ready('short');
  await place.kubectl(['delete', 'mai', 'short', '--timeout=60s']);
  await eventually('the end of the servers', async () => {
    const left = await place.pods('app.kubernetes.io/instance=short');
    if (left.length === 0) return true;
    throw new Error(left.map(({ metadata }) => metadata.name).join(', '));
  });
  const secrets = await place.kubectl(['get', 'secrets', '-o', 'name']);
  expect(secrets.split('\n').filter((name) => name.endsWith('short'))).toEqual([
    'secret/macp-auth-keyring.short',
  ]);
});
