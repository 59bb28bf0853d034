import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { decodeProtectedHeader } from 'jose';
import { jwksPath } from '../../operator/build/server.ts';
import { resources } from '../../operator/cluster/resources.ts';
import { agentPod } from '../integration/agent-pod.ts';
import { type Bench, eventually, openBench } from '../integration/support.ts';
import { newKey } from './forge.ts';
import { proveItJudges, type Runtime, startRuntime } from './runtime.ts';
import { mint, type Sidecar, startSidecar } from './sidecar.ts';
import { buildTimeoutMs } from './toolchain/runtime.ts';

const sender = 'agent://planner';
const issuer = 'the-old-service';
const audience = 'macp-runtime';
const jwksTTLSeconds = 1;

// The address that the runtime knows stays; what answers behind it moves from the old service to the issuer.
async function movable(target: { url: string }): Promise<Server> {
  const server = createServer(async (_request, response) => {
    const answer = await fetch(target.url);
    response.writeHead(answer.status, { 'content-type': 'application/json' }).end(await answer.text());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

describe('a migration from a service with one key', () => {
  let bench: Bench;
  let old: Sidecar;
  let runtime: Runtime;
  let server: Server;
  const target = { url: '' };

  beforeAll(async () => {
    bench = await openBench('migration');
    bench.operator();
    // The reference's default: RS256, and a key without a kid.
    const { kid: _, ...unnamed } = await newKey('RS256', '');
    const signingKey = unnamed as Awaited<ReturnType<typeof newKey>>;
    old = await startSidecar({ signingKey, issuer, audience, env: { MACP_AUTH_SIGNING_ALG: 'RS256' } });
    target.url = old.jwksURL;
    server = await movable(target);
    const { port } = server.address() as AddressInfo;
    runtime = await startRuntime({ jwksURL: `http://127.0.0.1:${port}/`, issuer, audience, jwksTTLSeconds });
    await proveItJudges(runtime, { token: await old.mint({ sender }), sender });
    const literal = `--from-literal=jwk=${JSON.stringify(signingKey)}`;
    await bench.kubectl.run(['create', 'secret', 'generic', 'old-key', '-n', bench.namespace, literal]);
  }, buildTimeoutMs);

  afterAll(async () => {
    await runtime?.stop();
    await old?.stop();
    server?.close();
    await bench?.close();
  }, 60_000);

  const spec = (importing: boolean, rotation = {}) => ({
    issuer,
    audience,
    algorithm: 'RS256',
    ttl: { default: '1m', max: '1h' },
    rotation: {
      interval: '1h',
      verifierCacheTTL: '1s',
      propagation: '1s',
      clockSkew: '1s',
      grace: '1h',
      ...rotation,
    },
    ...(importing && { importKey: { secretRef: { name: 'old-key', key: 'jwk' }, maxTTL: '1h' } }),
  });
  const accepted = async (token: string) =>
    expect(await runtime.judge({ token, sender })).toEqual({ outcome: 'accepted' });
  const nextCache = () => new Promise((resolve) => setTimeout(resolve, jwksTTLSeconds * 1000 + 200));

  it('refuses no token before, during and after the move, while the old replicas still mint', async () => {
    const early = await old.mint({ sender });
    await accepted(early);

    await bench.apply('moved', spec(true));
    const imported = await bench.ready('moved');
    expect(imported.status?.activeKeyID).toBe('key-1');
    const address = new URL(await agentPod(bench, 'moved')).origin;
    const { items } = await bench.client.list(resources.pods, bench.namespace, {
      labelSelector: 'app.kubernetes.io/component=jwks-server',
    });
    const [pod] = items as unknown as [{ status: { podIP: string } }];

    // Old and new mint beside each other, whichever JWKS the runtime fetched.
    const byNew = await mint(address, { sender });
    expect(decodeProtectedHeader(byNew)).toEqual({ alg: 'RS256', kid: 'key-1' });
    for (const token of [early, byNew, await old.mint({ sender })]) await accepted(token);
    target.url = `http://${pod.status.podIP}:3200${jwksPath}`;
    await nextCache();
    for (const token of [early, byNew, await old.mint({ sender }), await mint(address, { sender })])
      await accepted(token);

    // Nothing rotates before the migration is said to be over, not even when it is asked for.
    await bench.apply('moved', spec(true, { rotateNow: 'early' }));
    await new Promise((resolve) => setTimeout(resolve, 4_000));
    expect((await bench.issuer('moved')).status?.activeKeyID).toBe('key-1');

    await bench.apply('moved', spec(false, { rotateNow: 'now' }));
    await eventually('a switch', async () => (await bench.issuer('moved')).status?.activeKeyID !== 'key-1');
    const late = await mint(address, { sender });
    expect(decodeProtectedHeader(late).kid).not.toBe('key-1');
    await nextCache();
    for (const token of [early, byNew, late, await old.mint({ sender })]) await accepted(token);
    await expect(bench.apply('moved', spec(true, { rotateNow: 'now' }))).rejects.toThrow(
      /can only be set when/,
    );
  }, 90_000);
});
