import { describe, expect, test } from '@jest/globals';
import { readEnvironment } from '../../../sidecar/environment.ts';

const alone = {
  mode: 'alone',
  signingKeyJSON: undefined,
  algorithm: 'RS256',
  issuer: 'macp-auth-service',
  audience: 'macp-runtime',
  maxTTLSeconds: 3600,
  defaultTTLSeconds: 300,
};
const aloneNames = [
  'MACP_AUTH_SIGNING_KEY_JSON',
  'MACP_AUTH_ISSUER',
  'MACP_AUTH_AUDIENCE',
  'MACP_AUTH_MAX_TTL_SECONDS',
  'MACP_AUTH_DEFAULT_TTL_SECONDS',
  'MACP_AUTH_SIGNING_ALG',
];

describe('the environment', () => {
  test('has the defaults of the reference service, and no health listener', () => {
    expect(readEnvironment({})).toEqual({
      main: { port: 3200, address: undefined },
      health: undefined,
      logLevel: 'info',
      source: alone,
    });
  });

  test('an empty variable is an unset one', () => {
    const names = [...aloneNames, 'PORT', 'MACP_AUTH_FILES_DIR', 'MACP_AUTH_BIND_ADDRESS', 'LOG_LEVEL'];
    const health = ['MACP_AUTH_HEALTH_PORT', 'MACP_AUTH_HEALTH_BIND_ADDRESS'];
    const empty = Object.fromEntries([...names, ...health].map((name) => [name, '']));
    expect(readEnvironment(empty)).toEqual(readEnvironment({}));
  });

  test('is read whole when alone', () => {
    expect(
      readEnvironment({
        PORT: '4200',
        MACP_AUTH_BIND_ADDRESS: '::1',
        MACP_AUTH_HEALTH_PORT: '4201',
        MACP_AUTH_HEALTH_BIND_ADDRESS: '127.0.0.2',
        LOG_LEVEL: 'warn',
        MACP_AUTH_SIGNING_KEY_JSON: '{}',
        MACP_AUTH_ISSUER: 'i',
        MACP_AUTH_AUDIENCE: 'a',
        MACP_AUTH_MAX_TTL_SECONDS: '60.5',
        MACP_AUTH_DEFAULT_TTL_SECONDS: '1e2',
        MACP_AUTH_SIGNING_ALG: 'ES256',
      }),
    ).toEqual({
      main: { port: 4200, address: '::1' },
      health: { port: 4201, address: '127.0.0.2' },
      logLevel: 'warn',
      source: {
        mode: 'alone',
        signingKeyJSON: '{}',
        algorithm: 'ES256',
        issuer: 'i',
        audience: 'a',
        maxTTLSeconds: 60.5,
        defaultTTLSeconds: 100,
      },
    });
  });

  test('says which workload this is, as far as it does', () => {
    expect(
      readEnvironment({ MACP_AUTH_POD_NAMESPACE: 'team-a', MACP_AUTH_SERVICE_ACCOUNT: 'a.planner-1' }),
    ).toMatchObject({ podNamespace: 'team-a', serviceAccount: 'a.planner-1', source: alone });
    expect(readEnvironment({})).toMatchObject({ podNamespace: undefined, serviceAccount: undefined });
    expect(readEnvironment({ MACP_AUTH_SERVICE_ACCOUNT: 's'.repeat(253) }).serviceAccount).toHaveLength(253);
  });

  test.each([
    ...['Team', 'a/b', '-a', 'a b', ' ', 'n'.repeat(64)].map((value) => ['MACP_AUTH_POD_NAMESPACE', value]),
    ...['a/b', '{namespace}', 's'.repeat(254)].map((value) => ['MACP_AUTH_SERVICE_ACCOUNT', value]),
  ])('%s is a name: not %j', (name = '', value = '') => {
    expect(() => readEnvironment({ [name]: value })).toThrow(
      new RegExp(`^${name} is .*: set it to the name that the downward API gives \\(fieldRef \\w+\\.\\w+\\)`),
    );
  });

  test('with mounted files there is a health listener', () => {
    const environment = readEnvironment({ MACP_AUTH_FILES_DIR: '/files' });
    expect(environment.source).toEqual({ mode: 'mounted', directory: '/files' });
    expect(environment.health).toEqual({ port: 3201, address: undefined });
  });

  test.each(aloneNames)('with mounted files %s must not be set', (name) => {
    expect(() => readEnvironment({ MACP_AUTH_FILES_DIR: '/files', [name]: 'x' })).toThrow(
      new RegExp(`^MACP_AUTH_FILES_DIR is set, so ${name} must not be`),
    );
  });

  test.each([
    ...['http', '-1', '65536', '3200.5', 'NaN', ' '].flatMap((value) => [
      ['PORT', value, 'integer from 0'],
      ['MACP_AUTH_HEALTH_PORT', value, 'integer from 0'],
    ]),
    ...['0', '-1', 'NaN', 'Infinity', '5m', '1e16', ' '].flatMap((value) => [
      ['MACP_AUTH_MAX_TTL_SECONDS', value, 'positive number of seconds'],
      ['MACP_AUTH_DEFAULT_TTL_SECONDS', value, 'positive number of seconds'],
    ]),
    ['MACP_AUTH_SIGNING_ALG', 'HS256', 'RS256 or ES256'],
    ['MACP_AUTH_SIGNING_ALG', 'rs256', 'RS256 or ES256'],
    ['MACP_AUTH_BIND_ADDRESS', 'localhost', 'IP address'],
    ['MACP_AUTH_HEALTH_BIND_ADDRESS', '127.0.0.1:80', 'IP address'],
    ['LOG_LEVEL', 'loud', 'one of trace'],
  ])('%s = "%s" is refused with its fix', (name = '', value = '', fix) => {
    const message = new RegExp(`^${name} is ${JSON.stringify(value)}: set it to .*${fix}`);
    expect(() => readEnvironment({ [name]: value })).toThrow(message);
  });

  test('names every bad variable in one line', () => {
    expect(() => readEnvironment({ PORT: 'x', LOG_LEVEL: 'y' })).toThrow(/^PORT .*; LOG_LEVEL [^\n]*$/);
  });

  test('does not repeat a key that was put into the wrong variable', () => {
    const pasted = '{"kty":"EC","d":"secret-member"}';
    expect(() => readEnvironment({ MACP_AUTH_SIGNING_ALG: pasted })).toThrow(/is a text of 32 characters/);
  });
});
