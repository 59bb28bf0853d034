import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { durationMs } from '../../../operator/api/duration.ts';
import { issuerLabel, issuerOfLabel, objectNames } from '../../../operator/api/names.ts';
import { resourcePath, resources } from '../../../operator/cluster/resources.ts';

describe('a duration', () => {
  test.each([
    ['0s', 0],
    ['250ms', 250],
    ['90s', 90_000],
    ['5m', 300_000],
    ['1h', 3_600_000],
    ['168h', 604_800_000],
    ['1h30m', 5_400_000],
    ['1h1m1s1ms', 3_661_001],
    ['1.5h', 5_400_000],
    ['0.5s', 500],
    ['30m1h', 5_400_000],
    ['1m1m', 120_000],
    ['007m', 420_000],
  ])('%s is %i ms', (text, ms) => {
    expect(durationMs(text)).toBe(ms);
  });

  test.each([
    '',
    '5',
    's',
    '5 m',
    ' 5m',
    '5m ',
    '-5m',
    '+5m',
    '1d',
    '5M',
    '1us',
    '1h30',
    '.5s',
    '5.s',
    '1e3s',
    '5m\n',
    'NaNs',
  ])('%j is none, and the message says how to write one', (text) => {
    expect(() => durationMs(text)).toThrow(
      new RangeError(`"${text}" is not a duration: write it like 90s, 5m or 1h30m`),
    );
  });

  test('is the sum of its parts', () => {
    const amount = fc.nat({ max: 10_000 });
    fc.assert(
      fc.property(amount, amount, amount, amount, (h, m, s, ms) => {
        expect(durationMs(`${h}h${m}m${s}s${ms}ms`)).toBe(h * 3_600_000 + m * 60_000 + s * 1_000 + ms);
      }),
    );
  });

  test.each([
    ['1.15h', 4_140_000],
    ['4.35m', 261_000],
    ['1.001s', 1_001],
    ['0.55h', 1_980_000],
  ])('%s is %i ms and no fraction of one', (text, ms) => {
    expect(durationMs(text)).toBe(ms);
  });
});

describe('names', () => {
  test('of the objects of an issuer', () => {
    expect(objectNames({ namespace: 'team', name: 'demo' })).toEqual({
      keyring: 'macp-auth-keyring.demo',
      agentSecret: 'macp-auth.team.demo',
      server: 'macp-auth-demo',
    });
  });

  const dnsLabel = fc.stringMatching(/^[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?$/);
  const key = fc.record({ namespace: dnsLabel, name: dnsLabel });

  test('of an issuer read back from its label', () => {
    fc.assert(fc.property(key, (issuer) => expect(issuerOfLabel(issuerLabel(issuer))).toEqual(issuer)));
  });

  test('of two issuers never meet in one namespace', () => {
    fc.assert(
      fc.property(key, key, (a, b) => {
        fc.pre(a.name !== b.name || a.namespace !== b.namespace);
        expect(issuerLabel(a)).not.toBe(issuerLabel(b));
        if (a.namespace !== b.namespace) return;
        const names = [objectNames(a), objectNames(b)].flatMap((all) => [all.keyring, all.agentSecret]);
        expect(new Set(names).size).toBe(4);
        expect(objectNames(a).server).not.toBe(objectNames(b).server);
      }),
    );
  });

  test.each([undefined, '', '.', 'team', 'team.', '.demo'])('of no issuer are in the label %j', (label) => {
    expect(issuerOfLabel(label)).toBeUndefined();
  });
});

test.each([
  [resources.secrets, 'team', 'a', '/api/v1/namespaces/team/secrets/a'],
  [resources.secrets, 'team', undefined, '/api/v1/namespaces/team/secrets'],
  [resources.secrets, undefined, undefined, '/api/v1/secrets'],
  [resources.deployments, 'team', 'a', '/apis/apps/v1/namespaces/team/deployments/a'],
  [
    resources.issuers,
    undefined,
    undefined,
    '/apis/auth.multiagentcoordinationprotocol.io/v1alpha1/macpauthissuers',
  ],
  [resources.configMaps, '../..', 'a/b?c', '/api/v1/namespaces/..%2F../configmaps/a%2Fb%3Fc'],
])('the path of %j in %j named %j', (resource, namespace, name, path) => {
  expect(resourcePath(resource, namespace, name)).toBe(path);
});
