import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { decodeJwt, decodeProtectedHeader, importJWK, SignJWT } from 'jose';
import { objectNames } from '../../operator/api/names.ts';
import { jwksPath } from '../../operator/build/server.ts';
import { resources } from '../../operator/cluster/resources.ts';
import { algorithms } from '../../sidecar/contract/jwk.ts';
import { agentPod } from '../integration/agent-pod.ts';
import { type Bench, openBench } from '../integration/support.ts';
import { tamper } from './forge.ts';
import { proveItJudges, type Runtime, startRuntime } from './runtime.ts';
import { mint } from './sidecar.ts';
import { buildTimeoutMs } from './toolchain/runtime.ts';

const sender = 'agent://planner';
const audience = 'runtime-of-the-test';

describe.each(algorithms)('from an applied issuer to a session, %s', (algorithm) => {
  let bench: Bench;
  let runtime: Runtime;
  let address: string;

  beforeAll(async () => {
    bench = await openBench('verify');
    bench.operator();
    await bench.apply('path', { algorithm, audience });
    await bench.ready('path');
    address = new URL(await agentPod(bench, 'path')).origin;
    const { items } = await bench.client.list(resources.pods, bench.namespace, {
      labelSelector: 'app.kubernetes.io/component=jwks-server',
    });
    const [server] = items as unknown as [{ status: { podIP: string } }];
    runtime = await startRuntime({
      jwksURL: `http://${server.status.podIP}:3200${jwksPath}`,
      issuer: 'macp-auth-service',
      audience,
    });
    await proveItJudges(runtime, { token: await mint(address, { sender }), sender });
  }, buildTimeoutMs);

  afterAll(async () => {
    await runtime?.stop();
    await bench?.close();
  }, 60_000);

  it('the runtime accepts what the sidecar of the pod mints', async () => {
    const token = await mint(address, { sender });
    expect(decodeProtectedHeader(token)).toEqual({
      alg: algorithm,
      kid: (await bench.issuer('path')).status?.activeKeyID,
    });
    expect(await runtime.judge({ token, sender })).toEqual({ outcome: 'accepted' });
  });

  it('the runtime refuses it when it was changed, or is for another audience', async () => {
    const token = await mint(address, { sender });
    const tampered = tamper(token, (claims) => ({ ...claims, exp: (claims.exp ?? 0) + 1 }));
    expect(await runtime.judge({ token: tampered, sender })).toMatchObject({ code: 'UNAUTHENTICATED' });
    const [key] = (await bench.agentFiles('path')).keys as unknown as [{ kid: string; privateKey: object }];
    const elsewhere = await new SignJWT({ ...decodeJwt(token), aud: 'macp-runtime' })
      .setProtectedHeader({ alg: algorithm, kid: key.kid })
      .sign(await importJWK(key.privateKey, algorithm));
    expect(await runtime.judge({ token: elsewhere, sender })).toMatchObject({
      code: 'UNAUTHENTICATED',
      reason: expect.stringContaining('invalid audience'),
    });
  });

  // What rotation will rest on: verifiers know a spare before anything is signed with it.
  it('the runtime already accepts the spares, whose private parts no agent has', async () => {
    const secret = await bench.secret(objectNames({ namespace: bench.namespace, name: 'path' }).keyring);
    const { data } = secret as unknown as { data: Record<string, string> };
    const { keys } = JSON.parse(Buffer.from(data['keyring.json'] as string, 'base64').toString()) as {
      keys: { kid: string; privateKey: object; activateAt?: string }[];
    };
    const spares = keys.filter(({ activateAt }) => activateAt === undefined);
    expect(spares).toHaveLength(2);
    for (const { kid, privateKey } of spares) {
      const claims = decodeJwt(await mint(address, { sender }));
      const token = await new SignJWT(claims)
        .setProtectedHeader({ alg: algorithm, kid })
        .sign(await importJWK(privateKey, algorithm));
      expect(await runtime.judge({ token, sender })).toEqual({ outcome: 'accepted' });
    }
  });
});
