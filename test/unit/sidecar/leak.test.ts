import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import {
  keyFixture,
  mintFiles,
  privateJWK,
  privateValues,
  publishFiles,
  Volume,
} from './support/fixtures.ts';
import { ask, eventually, mint, runToEnd, Sidecar } from './support/sidecar.ts';

/** What must not be seen, as it is and in the encodings that a program might print it in. */
function spellings(secret: string): string[] {
  const bytes = Buffer.from(secret, 'base64url');
  const inner = Buffer.from(secret).toString('base64');
  return [secret, bytes.toString('base64'), bytes.toString('hex'), inner.slice(0, inner.length - 4)];
}

function expectNone(output: string, secrets: readonly string[]): void {
  expect(secrets.length).toBeGreaterThan(0);
  for (const secret of secrets.flatMap(spellings)) {
    // Not `toContain`, which would print the secret.
    expect(output.includes(secret)).toBe(false);
  }
}

let volume: Volume;
beforeEach(() => {
  volume = new Volume();
});
afterEach(() => volume.remove());

const rsa = privateJWK('RS256');
const ec = privateJWK('ES256');
const secrets = [...privateValues(rsa), ...privateValues(ec)];

describe('no key member is in the output of a start that fails', () => {
  const text = JSON.stringify(rsa);
  const aloneCases: [string, Record<string, string>][] = [
    ['a key cut short', { MACP_AUTH_SIGNING_KEY_JSON: text.slice(0, -1) }],
    ['a key twice', { MACP_AUTH_SIGNING_KEY_JSON: text + text }],
    ['a bare member', { MACP_AUTH_SIGNING_KEY_JSON: rsa.d ?? '' }],
    ['two halves', { MACP_AUTH_SIGNING_KEY_JSON: JSON.stringify({ ...rsa, n: privateJWK('RS256').n }) }],
    ['the wrong alg', { MACP_AUTH_SIGNING_KEY_JSON: text, MACP_AUTH_SIGNING_ALG: 'ES256' }],
    ['a symmetric key', { MACP_AUTH_SIGNING_KEY_JSON: JSON.stringify({ kty: 'oct', k: ec.d }) }],
    ['a member as kid', { MACP_AUTH_SIGNING_KEY_JSON: JSON.stringify({ ...rsa, kid: { d: rsa.d } }) }],
    ['the key in other variables', { MACP_AUTH_SIGNING_ALG: text, PORT: rsa.d ?? '', LOG_LEVEL: text }],
    ['both sides', { MACP_AUTH_SIGNING_KEY_JSON: text, MACP_AUTH_FILES_DIR: '/files' }],
  ];
  test.each(aloneCases)('alone: %s', async (_name, variables) => {
    const { code, stdout, stderr } = await runToEnd(variables);
    expect(code).toBe(1);
    expectNone(stdout + stderr, secrets);
  });

  const good = keyFixture('a', { jwk: ec });
  const files = mintFiles([good]);
  const entry = (files['keys.json'] as { keys: Record<string, unknown>[] }).keys[0];
  const withKey = (changes: object) => ({ ...files, 'keys.json': { keys: [{ ...entry, ...changes }] } });
  const whole = JSON.stringify(files['keys.json']);
  const mountedCases: [string, Record<string, unknown>][] = [
    ['keys cut short', { ...files, 'keys.json': whole.slice(0, -3) }],
    ['a member in each wrong place', withKey({ alg: ec.d, activateAt: ec.d, signUntil: { d: ec.d } })],
    ['a member as type and curve', withKey({ privateKey: { ...ec, kty: ec.d } })],
    ['a member as the curve', withKey({ privateKey: { ...ec, crv: ec.d } })],
    ['a member with a blank', withKey({ privateKey: { ...ec, d: `${ec.d} ` } })],
    ['two halves', withKey({ privateKey: { ...ec, y: ec.d } })],
    ['keys in place of the JWKS', { ...files, 'jwks.json': whole }],
    [
      'a private key in the JWKS',
      { ...files, 'jwks.json': { keys: [{ ...ec, kid: 'a', alg: 'ES256', use: 'sig' }] } },
    ],
    ['keys in place of the settings', { ...files, 'settings.json': whole }],
    ['a member as role', { ...files, 'settings.json': { role: ec.d } }],
    ['keys at a publisher', { ...publishFiles([good]), 'keys.json': whole }],
  ];
  test.each(mountedCases)('mounted: %s', async (_name, broken) => {
    volume.swap(broken);
    const { code, stdout, stderr } = await runToEnd({ MACP_AUTH_FILES_DIR: volume.directory });
    expect(code).toBe(1);
    expectNone(stdout + stderr, secrets);
  });
});

test('neither key nor token is in the output, metrics or answers of a busy run', async () => {
  const keys = [
    keyFixture('ec', { jwk: ec }),
    keyFixture('rsa', { jwk: rsa, alg: 'RS256', activateAt: Date.now() - 1000 }),
  ] as const;
  volume.swap(mintFiles(keys));
  const sidecar = new Sidecar({
    MACP_AUTH_FILES_DIR: volume.directory,
    MACP_AUTH_HEALTH_PORT: '0',
    MACP_AUTH_HEALTH_BIND_ADDRESS: '127.0.0.1',
    LOG_LEVEL: 'trace',
  });
  const [base = '', health = ''] = await sidecar.listening(2);
  const tokens: string[] = [];
  const seen: string[] = [];
  const mintSome = async () => {
    const answers = await Promise.all(
      Array.from({ length: 25 }, (_, n) => mint(base, { sender: `agent-${n}` })),
    );
    for (const { text } of answers) tokens.push(JSON.parse(text).token);
  };

  await mintSome();
  const deep = `{"sender":"a","scopes":{"x":${'['.repeat(20_000)}${']'.repeat(20_000)}}}`;
  for (const bad of ['{', '[]', '{"sender":"a","scopes":1}', '{"sender":"a","ttl_seconds":1e-7}', deep]) {
    seen.push((await mint(base, bad)).text);
  }
  volume.swap({ ...mintFiles(keys, { revision: 2 }), 'keys.json': JSON.stringify({ keys: [ec, rsa] }) });
  await eventually(() => sidecar.logged('files_broken')[0]);
  volume.swap(mintFiles([keys[0]], { revision: 3 }));
  await eventually(() => sidecar.logged('files_loaded').find(({ revision }) => revision === 3));
  await mintSome();

  for (const path of ['/.well-known/jwks.json', '/nope', '/healthz'])
    seen.push((await ask(base + path)).text);
  for (const path of ['/metrics', '/readyz', '/nope']) seen.push((await ask(health + path)).text);
  sidecar.child.kill('SIGTERM');
  const { code, stdout, stderr } = await sidecar.ended;
  expect(code).toBe(0);
  expect(stderr).toBe('');
  // The search is of a log that has every mint, by what it may say.
  const mints = sidecar.logged('mint');
  expect(mints).toHaveLength(50);
  expect(mints[0]).toMatchObject({
    level: 'info',
    sender: expect.stringMatching(/^agent-/),
    kid: 'rsa',
    ttlSeconds: 120,
    scopes: {},
  });
  expect(mints[0]?.jti).toMatch(/^[0-9a-f-]{36}$/);
  expect(sidecar.logged('refusal').map(({ reason }) => reason)).toEqual([
    'invalid_json',
    'invalid_sender',
    'invalid_scopes',
  ]);
  expect(sidecar.logged('failure')).toHaveLength(2);

  const signatures = tokens.map((token) => token.split('.')[2] ?? '');
  expectNone([stdout, stderr, ...seen].join('\n'), [...secrets, ...tokens, ...signatures]);
});
