import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { createLocalJWKSet, jwtVerify } from 'jose';
import { keyFixture, mintFiles, privateJWK, publicJWK, publishFiles, Volume } from './support/fixtures.ts';
import { ask, eventually, mint, runToEnd, Sidecar } from './support/sidecar.ts';

const volumes: Volume[] = [];
afterEach(() => {
  for (const volume of volumes.splice(0)) volume.remove();
});
function volumeWith(files: Record<string, unknown>): string {
  const volume = new Volume();
  volumes.push(volume);
  volume.swap(files);
  return volume.directory;
}

/** The one line on standard error with which the program ended. */
async function complaint(variables: Record<string, string>): Promise<string> {
  const { code, stderr } = await runToEnd(variables);
  expect(stderr).toMatch(/^macp-auth: [^\n]+\n$/);
  expect(code).toBe(1);
  return stderr;
}

const rsa = privateJWK('RS256');
const ec = privateJWK('ES256');
const given = (jwk: object, more = {}) => ({ MACP_AUTH_SIGNING_KEY_JSON: JSON.stringify(jwk), ...more });

describe('alone', () => {
  test.each([
    ['RS256 by default, and its kid', { ...rsa, kid: 'ops-1', use: 'enc' }, {}, 'RS256', 'ops-1'],
    ['no kid is key-1', rsa, {}, 'RS256', 'key-1'],
    ['ES256', { ...ec, kid: 'ops-2' }, { MACP_AUTH_SIGNING_ALG: 'ES256' }, 'ES256', 'ops-2'],
  ] as const)('with a key: %s', async (_name, jwk, variables, alg, kid) => {
    const sidecar = new Sidecar(given(jwk, { MACP_AUTH_ISSUER: 'i', MACP_AUTH_AUDIENCE: 'a', ...variables }));
    const [base = ''] = await sidecar.listening();
    const jwks = JSON.parse((await ask(`${base}/.well-known/jwks.json`)).text);
    expect(jwks).toEqual({ keys: [publicJWK(jwk, kid, alg)] });
    const { token } = JSON.parse((await mint(base, { sender: 's' })).text);
    const verified = await jwtVerify(token, createLocalJWKSet(jwks), { issuer: 'i', audience: 'a' });
    expect(verified.protectedHeader).toEqual({ alg, kid });
    expect(sidecar.logged('ephemeral_key')).toEqual([]);
  });

  test('without a key: an ephemeral one and a warning', async () => {
    const sidecar = new Sidecar({ MACP_AUTH_SIGNING_KEY_JSON: '' });
    const [base = ''] = await sidecar.listening();
    const { keys } = JSON.parse((await ask(`${base}/.well-known/jwks.json`)).text);
    expect(keys).toMatchObject([{ kid: 'dev-key-1', alg: 'RS256', kty: 'RSA' }]);
    expect(sidecar.logged('ephemeral_key')).toMatchObject([{ level: 'warn' }]);
    expect(sidecar.logged('listening')).toHaveLength(1);
  });

  test('listens on every address when none is set', async () => {
    const sidecar = new Sidecar({ MACP_AUTH_BIND_ADDRESS: '', MACP_AUTH_SIGNING_ALG: 'ES256' });
    const [base = ''] = await sidecar.listening();
    expect((await ask(`${base}/healthz`)).status).toBe(200);
    expect(['::', '0.0.0.0']).toContain(sidecar.logged('listening')[0]?.address);
  });

  test.each([
    ['not JSON', { MACP_AUTH_SIGNING_KEY_JSON: `{"d":"${ec.d}"` }, /not valid JSON/],
    ['not an object', { MACP_AUTH_SIGNING_KEY_JSON: '[]' }, /not a JSON object/],
    ['public', given({ kty: 'RSA', n: rsa.n, e: rsa.e }), /only a public key/],
    ['symmetric', given({ kty: 'oct', k: ec.d }), /symmetric/],
    ['EC without saying so', given(ec), /MACP_AUTH_SIGNING_ALG is RS256.*kty must be RSA/],
    ['RSA for ES256', given(rsa, { MACP_AUTH_SIGNING_ALG: 'ES256' }), /kty must be EC/],
    ['short', given(privateJWK('RS256', 1024)), /2048 bits/],
    ['without primes', given({ kty: 'RSA', n: rsa.n, e: rsa.e, d: rsa.d }), /lacks the member p/],
    [
      'of two halves',
      given({ ...ec, d: privateJWK('ES256').d }, { MACP_AUTH_SIGNING_ALG: 'ES256' }),
      /belong/,
    ],
    ['named by a number', given({ ...rsa, kid: 1 }), /kid is not a string/],
  ])('a key that is %s is refused', async (_name, variables, problem) => {
    const line = await complaint(variables);
    expect(line).toMatch(/^macp-auth: MACP_AUTH_SIGNING_KEY_JSON can't be used/);
    expect(line).toMatch(problem);
    expect(line).toMatch(/; set it to a whole private JWK/);
    expect(line).not.toContain(ec.d);
    expect(line).not.toContain(rsa.n);
  });

  test('a bad variable is named', async () => {
    expect(await complaint({ PORT: 'http' })).toMatch(/PORT is "http": set it to an integer/);
  });

  test('a port in use is named', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    try {
      await once(other, 'listening');
      const { port } = other.address() as { port: number };
      expect(await complaint({ PORT: String(port), MACP_AUTH_SIGNING_ALG: 'ES256' })).toBe(
        `macp-auth: PORT ${port} on 127.0.0.1 is already in use; stop its other user or set PORT to another port\n`,
      );
      expect(
        await complaint({
          MACP_AUTH_SIGNING_ALG: 'ES256',
          MACP_AUTH_HEALTH_PORT: String(port),
          MACP_AUTH_HEALTH_BIND_ADDRESS: '127.0.0.1',
        }),
      ).toMatch(/MACP_AUTH_HEALTH_PORT \d+ on 127.0.0.1 is already in use/);
    } finally {
      other.close();
    }
  });

  test('an address of another host is named', async () => {
    const line = await complaint({ MACP_AUTH_BIND_ADDRESS: '192.0.2.1', MACP_AUTH_SIGNING_ALG: 'ES256' });
    expect(line).toMatch(/on 192\.0\.2\.1 is not on an address of this host; correct MACP_AUTH_BIND_ADDRESS/);
  });
});

describe('with mounted files', () => {
  test('both sides at once is refused', async () => {
    const line = await complaint({
      MACP_AUTH_FILES_DIR: '/files',
      MACP_AUTH_ISSUER: 'i',
      MACP_AUTH_SIGNING_KEY_JSON: JSON.stringify(ec),
    });
    expect(line).toMatch(
      /MACP_AUTH_FILES_DIR is set, so MACP_AUTH_SIGNING_KEY_JSON, MACP_AUTH_ISSUER must not be/,
    );
    expect(line).not.toContain(ec.d);
  });

  test('a missing directory is refused', async () => {
    const line = await complaint({ MACP_AUTH_FILES_DIR: '/nonexistent/files' });
    expect(line).toMatch(/files of MACP_AUTH_FILES_DIR .*does not exist; mount the volume/);
  });

  test('an empty directory is refused', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'sidecar-empty-'));
    try {
      expect(await complaint({ MACP_AUTH_FILES_DIR: directory })).toMatch(
        /settings\.json: is missing; mount/,
      );
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  const key = keyFixture('a');
  test('a broken file is refused by name and member', async () => {
    const files = mintFiles([key], { maxTTLSeconds: -1 });
    const line = await complaint({ MACP_AUTH_FILES_DIR: volumeWith(files) });
    expect(line).toMatch(/settings\.json: maxTTLSeconds: Too small.*; let the operator write it again/);
  });

  test('private keys at a publisher are refused', async () => {
    const files = { ...publishFiles([key]), 'keys.json': mintFiles([key])['keys.json'] };
    expect(await complaint({ MACP_AUTH_FILES_DIR: volumeWith(files) })).toMatch(
      /keys\.json: must not be there/,
    );
  });

  test('a publisher serves the JWKS and has no mint at all', async () => {
    const files = publishFiles([key]);
    const sidecar = new Sidecar({
      MACP_AUTH_FILES_DIR: volumeWith(files),
      MACP_AUTH_HEALTH_PORT: '0',
      MACP_AUTH_HEALTH_BIND_ADDRESS: '127.0.0.1',
    });
    const [base = '', health = ''] = await sidecar.listening(2);
    const jwks = await ask(`${base}/.well-known/jwks.json`);
    expect(JSON.parse(jwks.text)).toEqual(files['jwks.json']);
    expect(jwks.headers.get('cache-control')).toBe('public, max-age=15');
    expect((await mint(base, { sender: 'a' })).status).toBe(404);
    expect((await mint(base, '{')).status).toBe(404);
    expect(await ask(`${base}/healthz`)).toMatchObject({ status: 200, text: '{"ok":true}' });
    expect(await ask(`${health}/readyz`)).toMatchObject({ status: 200, text: '{"ok":true}' });
    const metrics = (await ask(`${health}/metrics`)).text;
    expect(metrics).toContain('macp_auth_jwks_requests_total{status="200"} 1');
    expect(metrics).not.toMatch(/^macp_auth_signer_usable.* 0/m);
  });
});

test('LOG_LEVEL hides what is below it', async () => {
  // Without the log line that tells the port, the port has to be known beforehand.
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as { port: number };
  await new Promise((resolve) => probe.close(resolve));

  const sidecar = new Sidecar({ LOG_LEVEL: 'warn', MACP_AUTH_SIGNING_ALG: 'ES256', PORT: String(port) });
  const base = `http://127.0.0.1:${port}`;
  await eventually(async () => ((await mint(base, { sender: 'a' })).status === 200 ? true : undefined));
  sidecar.child.kill('SIGTERM');
  expect(await sidecar.ended).toMatchObject({ code: 0, stderr: '' });
  expect(sidecar.log().map(({ event }) => event)).toEqual(['ephemeral_key']);
});
