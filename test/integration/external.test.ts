import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { objectNames } from '../../operator/api/names.ts';
import { resources } from '../../operator/cluster/resources.ts';
import { type Bench, eventually, openBench } from './support.ts';

const rotation = { interval: '10m', verifierCacheTTL: '1s', propagation: '1s', clockSkew: '1s', grace: '5m' };

// What stands before the servers is not ours: a server of the test is as good a cache as any.
describe('an issuer with server.externalURL', () => {
  let bench: Bench;
  let cache: Server;
  /** What the cache answers for an issuer; undefined: what the servers have now. */
  const frozen: Record<string, { status: number; body: string } | undefined> = {};

  const externalURL = (name: string) => `http://127.0.0.1:${(cache.address() as AddressInfo).port}/${name}`;
  const current = async (name: string): Promise<string> => {
    const { server } = objectNames({ namespace: bench.namespace, name });
    const { data } = await bench.client.get(resources.configMaps, bench.namespace, server);
    return (data as Record<string, string>)['jwks.json'] as string;
  };
  const patch = (name: string, spec: object) =>
    bench.kubectl.run([
      ...['patch', 'mai', name, '-n', bench.namespace, '--type=merge', '-p', JSON.stringify({ spec })],
    ]);
  const condition = async (name: string, type: string) =>
    (await bench.issuer(name)).status?.conditions?.find((candidate) => candidate.type === type);
  // A settled issuer is looked at once a minute, and nothing tells of a change outside.
  const until = (name: string, type: string, reason: string) =>
    eventually(
      `${type} of ${name} with ${reason}`,
      async () => {
        const found = await condition(name, type);
        if (found?.reason === reason) return found;
        throw new Error(JSON.stringify(found));
      },
      90,
    );
  const open = async (name: string) => {
    await bench.apply(name, { rotation, server: { replicas: 1, externalURL: externalURL(name) } });
    await bench.ready(name);
    await until(name, 'PublishedExternally', 'ExternalSetCurrent');
  };

  beforeAll(async () => {
    bench = await openBench('external');
    bench.operator();
    cache = createServer(async ({ url }, response) => {
      const name = url?.slice(1) as string;
      const { status, body } = frozen[name] ?? { status: 200, body: await current(name).catch(() => '') };
      response.writeHead(status).end(body);
    }).listen(0, '127.0.0.1');
    await once(cache, 'listening');
  }, 120_000);
  afterAll(async () => {
    cache?.closeAllConnections();
    cache?.close();
    await bench?.close();
  }, 60_000);

  test('says that URL for runtimes, and that it serves the keys', async () => {
    await open('outside');
    expect((await bench.issuer('outside')).status?.jwksURL).toBe(externalURL('outside'));
    await bench.quiet();
  }, 120_000);

  // Each waits some of those minutes, so they wait together.
  test.concurrent('does not rotate while the set there lacks the next key, and says why', async () => {
    const name = 'lacking';
    await open(name);
    const { keys } = JSON.parse(await current(name)) as { keys: { kid: string }[] };
    const active = (await bench.issuer(name)).status?.activeKeyID;
    frozen[name] = {
      status: 200,
      body: JSON.stringify({ keys: keys.filter(({ kid }) => kid === active) }),
    };
    await until(name, 'PublishedExternally', 'ExternalSetUpdating');
    await patch(name, { rotation: { rotateNow: 'first' } });
    const { message } = await until(name, 'RotationOnTime', 'WaitingForExternalURL');
    expect(message).toContain('lacks the next key');
    // Long past the time in which verifiers in the cluster have it.
    await sleep(6_000);
    expect((await condition(name, 'RotationOnTime'))?.reason).toBe('WaitingForExternalURL');
    expect((await bench.issuer(name)).status).toMatchObject({ activeKeyID: active });
    expect((await bench.ready(name)).status?.conditions?.[0]?.status).toBe('True');

    frozen[name] = undefined;
    await eventually('another key that signs', async () => {
      const { status } = await bench.issuer(name);
      return status?.activeKeyID !== active;
    });
    await until(name, 'PublishedExternally', 'ExternalSetCurrent');
  }, 240_000);

  test.concurrent('rotates although it cannot be reached, which is a condition', async () => {
    const name = 'unreachable';
    await open(name);
    frozen[name] = { status: 503, body: '' };
    const { message } = await until(name, 'PublishedExternally', 'ExternalURLUnreachable');
    expect(message).toBe(
      'spec.server.externalURL gave no JWKS: it answered 503; correct it, or what is before the servers',
    );
    const active = (await bench.ready(name)).status?.activeKeyID;
    await patch(name, { rotation: { rotateNow: 'first' } });
    await eventually('another key that signs', async () => {
      const { status } = await bench.issuer(name);
      return status?.activeKeyID !== active;
    });
    frozen[name] = undefined;
    await until(name, 'PublishedExternally', 'ExternalSetCurrent');
  }, 240_000);

  test.concurrent('neither rotates nor is Ready while keys are served there that are not its own', async () => {
    const name = 'foreign';
    await open(name);
    const stranger = { kty: 'EC', crv: 'P-256', x: 'x', y: 'y', kid: 'strange', use: 'sig', alg: 'ES256' };
    const { keys } = JSON.parse(await current(name)) as { keys: object[] };
    frozen[name] = { status: 200, body: JSON.stringify({ keys: [...keys, stranger] }) };
    const { message } = await until(name, 'PublishedExternally', 'UnknownKeyServed');
    expect(message).toContain('(strange)');
    await bench.ready(name, 'UnknownKeyServed');
    expect((await condition(name, 'RotationOnTime'))?.message).toContain(
      'spec.server.externalURL serves keys',
    );
    frozen[name] = undefined;
    await until(name, 'PublishedExternally', 'ExternalSetCurrent');
    await bench.ready(name);
  }, 240_000);

  test('is asked no more where the field is gone, and runtimes in the cluster have their URL again', async () => {
    await patch('outside', { server: { externalURL: null } });
    await eventually('no condition', async () => {
      return (await condition('outside', 'PublishedExternally')) === undefined;
    });
    expect((await bench.issuer('outside')).status?.jwksURL).toBe(
      `http://macp-auth-outside.${bench.namespace}.svc/.well-known/jwks.json`,
    );
  }, 60_000);
});

test('an operator that is told not to asks no external URL', async () => {
  const bench = await openBench('unasked');
  let asked = 0;
  const server = createServer((_, response) => {
    asked += 1;
    response.end('{"keys":[]}');
  }).listen(0, '127.0.0.1');
  try {
    await once(server, 'listening');
    bench.operator(['--sidecar-image', 'macp-auth-sidecar:dev', '--external-probe', 'false']);
    const externalURL = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    await bench.apply('unasked', { server: { replicas: 1, externalURL } });
    const { status } = await bench.ready('unasked');
    expect(status?.jwksURL).toBe(externalURL);
    expect(status?.conditions?.map(({ type }) => type)).not.toContain('PublishedExternally');
    expect(asked).toBe(0);
  } finally {
    server.close();
    await bench.close();
  }
}, 120_000);
