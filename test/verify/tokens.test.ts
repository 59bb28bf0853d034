import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { decodeJwt, type JWTPayload } from 'jose';
import { algorithms } from '../../sidecar/contract/jwk.ts';
import { type NamedKey, newKey, sign, tamper } from './forge.ts';
import { proveItJudges, type Runtime, startRuntime } from './runtime.ts';
import { type Sidecar, startSidecar } from './sidecar.ts';
import { buildTimeoutMs } from './toolchain/runtime.ts';

const sender = 'agent://planner';
const issuer = 'verify-issuer';
const audience = 'verify-audience';

describe.each(algorithms)('the runtime and a token of the sidecar, %s', (algorithm) => {
  let key: NamedKey;
  let other: NamedKey;
  let sidecar: Sidecar;
  let runtime: Runtime;
  let token: string;
  let claims: JWTPayload;

  beforeAll(async () => {
    key = await newKey(algorithm, 'verify-key');
    other = await newKey(algorithm, 'other-key');
    sidecar = await startSidecar({ signingKey: key, issuer, audience });
    runtime = await startRuntime({ jwksURL: sidecar.jwksURL, issuer, audience });
    token = await sidecar.mint({ sender });
    claims = decodeJwt(token);
    await proveItJudges(runtime, { token, sender });
  }, buildTimeoutMs);

  afterAll(() => Promise.all([runtime?.stop(), sidecar?.stop()]));

  const ago = (seconds: number) => Math.floor(Date.now() / 1000) - seconds;

  it('accepts it, again and again', async () => {
    for (let i = 0; i < 3; i++) {
      expect(await runtime.judge({ token: await sidecar.mint({ sender }), sender })).toEqual({
        outcome: 'accepted',
      });
    }
  });

  it('accepts it from its own sender only', async () => {
    expect(await runtime.judge({ token, sender: 'agent://somebody-else' })).toMatchObject({
      outcome: 'refused',
      code: 'UNAUTHENTICATED',
    });
  });

  // The control of all that follows: each refused token differs from this one in one thing.
  it('accepts the same claims, signed here with the same key', async () => {
    expect(await runtime.judge({ token: await sign(key, claims), sender })).toEqual({ outcome: 'accepted' });
  });

  it.each([
    [
      'changed after signing',
      () => tamper(token, (c) => ({ ...c, exp: (c.exp ?? 0) + 1 })),
      /InvalidSignature/,
    ],
    ['of another key', () => sign(other, claims), /InvalidSignature/],
    ['of another key under the same kid', () => sign(other, claims, key.kid), /InvalidSignature/],
    ['that is expired', () => sign(key, { ...claims, exp: ago(90) }), /credential expired/],
    ['that never expires', () => sign(key, without(claims, 'exp')), /Missing required claim: exp/],
    ['for another audience', () => sign(key, { ...claims, aud: 'macp-runtime' }), /invalid audience/],
    ['of another issuer', () => sign(key, { ...claims, iss: 'macp-auth-service' }), /invalid issuer/],
  ])('refuses one %s', async (_what, make, reason) => {
    expect(await runtime.judge({ token: await make(), sender })).toMatchObject({
      outcome: 'refused',
      code: 'UNAUTHENTICATED',
      reason: expect.stringMatching(reason),
    });
  });

  // How long a withdrawn key has to stay published is computed with this leeway.
  it('accepts one for 60 seconds past its end', async () => {
    const late = await sign(key, { ...claims, exp: ago(45) });
    expect(await runtime.judge({ token: late, sender })).toEqual({ outcome: 'accepted' });
    const tooLate = await sign(key, { ...claims, exp: ago(62) });
    expect(await runtime.judge({ token: tooLate, sender })).toMatchObject({ reason: 'credential expired' });
  });

  it('leaves neither the key nor a token in what the sidecar writes', () => {
    const written = sidecar.output();
    expect(written).toContain(sender);
    expect(written).not.toContain(token.split('.')[2]);
    for (const name of ['d', 'p', 'q', 'dp', 'dq', 'qi'] as const) {
      if (key[name]) expect(written).not.toContain(key[name]);
    }
  });
});

function without(claims: JWTPayload, name: string): JWTPayload {
  return Object.fromEntries(Object.entries(claims).filter(([key]) => key !== name));
}
