import { request } from 'node:http';
import { gzipSync } from 'node:zlib';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { createLocalJWKSet, jwtVerify } from 'jose';
import { ask, decode, mint, Sidecar } from './support/sidecar.ts';

/** The HTTP contract of the reference service, asked of a real process that runs alone as that service does. */
let base: string;
beforeAll(async () => {
  const sidecar = new Sidecar(
    { MACP_AUTH_SIGNING_ALG: 'ES256', MACP_AUTH_HEALTH_PORT: '' },
    { shared: true },
  );
  [base = ''] = await sidecar.listening();
});

const json = { 'content-type': 'application/json' };

/** A request with exactly these headers, which fetch would add to. */
async function exactly(
  method: string,
  path: string,
  headers: Record<string, string>,
  body?: string | Buffer,
) {
  return new Promise<{ status: number | undefined; etag: string | undefined; text: string }>(
    (resolve, reject) => {
      const sent = request(base + path, { method, headers, agent: false }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (part) => {
          text += part;
        });
        const { statusCode: status, headers: answered } = response;
        response.on('end', () => resolve({ status, etag: answered.etag, text }));
      });
      sent.on('error', reject).end(body);
    },
  );
}

const post = (body: string | Buffer, headers: Record<string, string> = json, path = '/tokens') =>
  exactly('POST', path, headers, body);

describe('POST /tokens', () => {
  test('answers with a token that the JWKS verifies', async () => {
    const before = Math.floor(Date.now() / 1000);
    const scopes = { can_start_sessions: true, allowed_modes: ['a', ''], nested: { x: [null, 1.5] } };
    const answer = await mint(base, { sender: ' agent://a ', scopes, ttl_seconds: 60 });
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toBe('application/json; charset=utf-8');
    expect(answer.headers.get('cache-control')).toBe('no-store');

    const { token, ...rest } = JSON.parse(answer.text);
    expect(rest).toEqual({ sender: ' agent://a ', expires_in_seconds: 60 });
    const jwks = JSON.parse((await ask(`${base}/.well-known/jwks.json`)).text);
    const { payload, protectedHeader } = await jwtVerify(token, createLocalJWKSet(jwks));
    expect(protectedHeader).toEqual({ alg: 'ES256', kid: 'dev-key-1' });
    const { iat = 0, exp, jti, ...claims } = payload;
    expect(claims).toEqual({
      iss: 'macp-auth-service',
      aud: 'macp-runtime',
      sub: ' agent://a ',
      macp_scopes: scopes,
    });
    expect(iat).toBeGreaterThanOrEqual(before);
    expect(exp).toBe(iat + 60);
    expect(jti).toMatch(/^[0-9a-f-]{36}$/);
  });

  test('each token has its own jti', async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => mint(base, { sender: 'a' })));
    const ids = answers.map(({ text }) => decode(JSON.parse(text).token).claims.jti);
    expect(new Set(ids).size).toBe(20);
  });

  test.each([
    ['{"sender":"a"}', 300],
    ['{"sender":"a","ttl_seconds":null}', 300],
    ['{"sender":"a","ttl_seconds":3600.5}', 3600],
    ['{"sender":"a","ttl_seconds":1e300}', 3600],
    ['{"sender":"a","ttl_seconds":1.5}', 1.5],
    ['{"sender":"a","ttl_seconds":0.4}', 0.4],
  ])('%s is minted for %d s', async (body, seconds) => {
    const { status, text } = await post(body);
    expect(status).toBe(200);
    const { token, expires_in_seconds } = JSON.parse(text);
    expect(expires_in_seconds).toBe(seconds);
    const { claims } = decode(token);
    expect(claims.exp - claims.iat).toBe(Math.round(seconds));
    expect(claims.macp_scopes).toEqual({});
  });

  test.each([
    ['{"sender": ', 'invalid JSON body'],
    ['"text"', 'invalid JSON body'],
    ['5', 'invalid JSON body'],
    ['null', 'invalid JSON body'],
    ['', 'sender is required'],
    ['[]', 'sender is required'],
    ['{}', 'sender is required'],
    ['{"sender":"\\t "}', 'sender is required'],
    ['{"__proto__":{"sender":"a"}}', 'sender is required'],
    ['{"sender":"a","scopes":null}', 'scopes must be an object'],
    ['{"sender":"a","scopes":[]}', 'scopes must be an object'],
    ['{"sender":"a","scopes":"x"}', 'scopes must be an object'],
    ['{"sender":"a","ttl_seconds":"60"}', 'ttl_seconds must be a positive number'],
    ['{"sender":"a","ttl_seconds":0}', 'ttl_seconds must be a positive number'],
    ['{"sender":"a","ttl_seconds":-1}', 'ttl_seconds must be a positive number'],
    ['{"sender":"a","ttl_seconds":1e400}', 'ttl_seconds must be a positive number'],
    ['{"sender":"a","ttl_seconds":1e-400}', 'ttl_seconds must be a positive number'],
  ])('%s is 400 "%s"', async (body, error) => {
    const { status, text } = await post(body);
    expect({ status, body: JSON.parse(text) }).toEqual({ status: 400, body: { error } });
  });

  test.each([
    ['without a content type', {}],
    ['as text', { 'content-type': 'text/plain' }],
    ['as a form', { 'content-type': 'application/x-www-form-urlencoded' }],
    ['as another kind of JSON', { 'content-type': 'application/vnd.api+json' }],
    ['as nonsense', { 'content-type': 'application' }],
  ])('a body %s is not looked at', async (_name, headers) => {
    const { status, text } = await post('{"sender":"a"}', headers);
    expect({ status, text }).toEqual({ status: 400, text: '{"error":"sender is required"}' });
  });

  const body = '{"sender":"a"}';
  const charset = (name: string) => ({ 'content-type': `application/json; charset=${name}` });
  const encoding = (name: string) => ({ ...json, 'content-encoding': name });
  const sized = (bytes: number) => JSON.stringify({ sender: 'a'.repeat(bytes - '{"sender":""}'.length) });
  test.each<[string, string | Buffer, Record<string, string>, number]>([
    ['UTF-16', Buffer.from(body, 'utf16le'), charset('utf-16'), 200],
    ['upper case', body, { 'content-type': 'APPLICATION/JSON; CHARSET=UTF-8' }, 200],
    ['Latin 1', body, charset('latin1'), 415],
    ['an unknown UTF', body, charset('utf-99'), 415],
    ['a byte order mark', `\ufeff${body}`, json, 200],
    ['gzip', gzipSync(body), encoding('gzip'), 200],
    ['not really gzip', body, encoding('gzip'), 400],
    ['an unknown encoding', body, encoding('x-unknown'), 415],
    ['100 KiB', sized(102_400), json, 200],
    ['100 KiB and a byte', sized(102_401), json, 413],
    ['200 KiB', sized(204_800), json, 413],
    ['200 KiB, zipped', gzipSync(sized(204_800)), encoding('gzip'), 413],
    ['200 KiB of text', sized(204_800), { 'content-type': 'text/plain' }, 400],
    ['a TTL that the reference trips over', '{"sender":"a","ttl_seconds":1e-7}', json, 500],
    [
      'scopes too deep to write',
      `{"sender":"a","scopes":{"x":${'['.repeat(20_000)}${']'.repeat(20_000)}}}`,
      json,
      500,
    ],
  ])('%s: one JSON answer without detail', async (_name, bytes, headers, expected) => {
    const { status, text } = await post(bytes, headers);
    expect(status).toBe(expected);
    const answer = JSON.parse(text);
    expect(Object.keys(answer)).toEqual(
      expected === 200 ? ['token', 'sender', 'expires_in_seconds'] : ['error'],
    );
    if (expected === 500) expect(answer.error).toBe('internal error');
    expect(text).not.toMatch(/node_modules|\.ts|Error:/);
  });
});

describe('routes are those of the reference service', () => {
  test.each([
    ['GET', '/healthz', 200, '{"ok":true}'],
    ['GET', '/HEALTHZ/', 200, '{"ok":true}'],
    ['GET', '/healthz?x=1', 200, '{"ok":true}'],
    ['HEAD', '/healthz', 200, ''],
    ['GET', '/.WELL-KNOWN/jwks.json/', 200, /^\{"keys":\[/],
    ['HEAD', '/.well-known/jwks.json', 200, ''],
    ['GET', '/tokens', 404, /Cannot GET \/tokens/],
    ['PUT', '/tokens', 404, /Cannot PUT \/tokens/],
    ['OPTIONS', '/tokens', 200, 'POST'],
    ['POST', '/healthz', 404, /Cannot POST \/healthz/],
    ['GET', '/', 404, /Cannot GET \//],
    ['GET', '/%zz', 404, /Cannot GET/],
    ['GET', '/metrics', 404, /Cannot GET \/metrics/],
    ['GET', '/readyz', 404, /Cannot GET \/readyz/],
  ])('%s %s is %d', async (method, path, status, text) => {
    const answer = await ask(base + path, { method });
    expect(answer.status).toBe(status);
    expect(answer.text).toMatch(typeof text === 'string' ? new RegExp(`^${text}$`) : text);
    expect(answer.headers.get('x-powered-by')).toBeNull();
  });

  test.each(['/tokens/', '/TOKENS', '/tokens?sender=b'])('POST %s mints', async (path) => {
    const { status, text } = await post('{"sender":"a"}', json, path);
    expect(status).toBe(200);
    expect(JSON.parse(text).sender).toBe('a');
  });

  test('a malformed body is refused whatever the path', async () => {
    const { status, text } = await post('{', json, '/nope');
    expect({ status, text }).toEqual({ status: 400, text: '{"error":"invalid JSON body"}' });
  });
});

test('a target in absolute form (RFC 9112 section 3.2.2) is answered, and is nothing to warn of', async () => {
  const sidecar = new Sidecar({ MACP_AUTH_SIGNING_ALG: 'ES256' });
  const [own = ''] = await sidecar.listening();
  const status = await new Promise((resolve, reject) => {
    request(own, { path: 'http://auth.example/healthz', agent: false }, (response) => {
      resolve(response.resume().statusCode);
    })
      .on('error', reject)
      .end();
  });
  expect(status).toBe(200);
  sidecar.child.kill('SIGTERM');
  expect((await sidecar.ended).stderr).toBe('');
});

describe('GET /.well-known/jwks.json', () => {
  test('has public members only, a validator and an age', async () => {
    const { headers, text } = await ask(`${base}/.well-known/jwks.json`);
    const { keys } = JSON.parse(text);
    expect(keys).toHaveLength(1);
    expect(Object.keys(keys[0]).sort()).toEqual(['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y']);
    expect(keys[0]).toMatchObject({ kid: 'dev-key-1', alg: 'ES256', use: 'sig' });
    expect(headers.get('content-type')).toBe('application/json; charset=utf-8');
    expect(headers.get('cache-control')).toBe('public, max-age=30');
    expect(headers.get('etag')).toMatch(/^"[\w-]{43}"$/);
  });

  test('is 304 for one who has it, 200 for one who has another', async () => {
    const get = (headers = {}) => exactly('GET', '/.well-known/jwks.json', headers);
    const { etag = '' } = await get();
    expect(await get({ 'if-none-match': etag })).toEqual({ status: 304, etag, text: '' });
    expect(await get({ 'if-none-match': `"other", ${etag}` })).toMatchObject({ status: 304 });
    expect(await get({ 'if-none-match': '"other"' })).toMatchObject({ status: 200, etag });
  });
});
