import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { renderPermissions } from '../support/permissions.ts';
import { type Bench, eventually, openBench } from './support.ts';

const rbac = await renderPermissions();

const withGrant = (grant: object) => ({ agents: { grants: [grant] } });
const grantCases: [string, object, RegExp][] = [
  [
    'no grant in its grants',
    { agents: { grants: [] } },
    /spec\.agents\.grants: .* should have at least 1 items/,
  ],
  [
    'a grant for longer than anybody may have',
    { ttl: { max: '10m' }, agents: { grants: [{ maxTTL: '10m' }, { maxTTL: '10m1s' }] } },
    /spec\.agents\.grants: .*grants\[\]\.maxTTL must not be longer than spec\.ttl\.max/,
  ],
  ['a grant for no time', withGrant({ maxTTL: '0s' }), /grants\[\]\.maxTTL must be at least 1s/],
  ['a grant whose time is none', withGrant({ maxTTL: 'long' }), /grants\[0\]\.maxTTL/],
  ...['agent://{pod}', 'agent://{Namespace}', 'agent://{namespace', 'agent://}', 'a b', 'a\n', 'é'].map(
    (sender): [string, object, RegExp] => [
      `the sender ${JSON.stringify(sender)}`,
      withGrant({ sender }),
      /grants\[0\]\.sender: .*can have the placeholders \{namespace\} and \{serviceAccount\}/,
    ],
  ),
  ['an empty sender', withGrant({ sender: '' }), /grants\[0\]\.sender/],
  [
    'a grant for no ServiceAccount',
    withGrant({ serviceAccounts: [] }),
    /serviceAccounts: .* at least 1 items/,
  ],
  ['a grant for no namespace', withGrant({ namespaces: [] }), /namespaces: .* at least 1 items/],
  ['no name of a ServiceAccount', withGrant({ serviceAccounts: ['A b'] }), /serviceAccounts\[0\]/],
  ['a namespace with a dot', withGrant({ namespaces: ['a.b'] }), /namespaces\[0\]/],
  ['a namespace twice', withGrant({ namespaces: ['a', 'a'] }), /namespaces\[1\]: Duplicate value: "a"/],
  [
    'a scope that does not exist',
    withGrant({ scopes: { can_fly: true } }),
    /unknown field "spec\.agents\.grants\[0\]\.scopes\.can_fly"/,
  ],
  ['a scope that is no boolean', withGrant({ scopes: { is_observer: 'yes' } }), /scopes\.is_observer/],
  ['a negative ceiling', withGrant({ scopes: { max_open_sessions: -1 } }), /scopes\.max_open_sessions/],
  ['a rate of none', withGrant({ mintsPerMinute: 0 }), /mintsPerMinute/],
];

describe('an issuer in trouble', () => {
  let bench: Bench;

  beforeAll(async () => {
    bench = await openBench('trouble');
  }, 120_000);
  afterAll(() => bench?.close(), 60_000);

  describe('with a bad spec is refused with a message that says why', () => {
    test.each<[string, object, RegExp]>([
      [
        'a default above the maximum',
        { ttl: { default: '2h' } },
        /spec\.ttl\.default must not be longer than spec\.ttl\.max/,
      ],
      ['no duration', { ttl: { max: 'soon' } }, /spec\.ttl\.max/],
      ['a maximum that is too long', { ttl: { max: '25h' } }, /spec\.ttl\.max must be between 1s and 24h/],
      [
        'a cache time of nothing',
        { rotation: { verifierCacheTTL: '0s' } },
        /verifierCacheTTL must be between 1s and 168h/,
      ],
      [
        'grace too short',
        { rotation: { grace: '1s' } },
        /spec\.rotation\.grace must be between 10s and 8760h/,
      ],
      ['an unknown algorithm', { algorithm: 'HS256' }, /spec\.algorithm: Unsupported value: "HS256"/],
      ...grantCases,
      ['no servers', { server: { replicas: 0 } }, /spec\.server\.replicas/],
      ...[
        'jwks.example.com',
        '/keys',
        'ftp://jwks.example.com/',
        'https://',
        'https:///keys',
        'http://a b/',
      ].map((externalURL): [string, object, RegExp] => [
        `an external URL that is none: ${externalURL}`,
        { server: { externalURL } },
        /spec\.server\.externalURL must be an absolute URL that begins with http:\/\/ or https:\/\//,
      ]),
      ...['https://user:secret@a.example/', 'https://a.example/?q', 'https://a.example/#f', 'http://@a/'].map(
        (externalURL): [string, object, RegExp] => [
          `an external URL with more than it takes: ${externalURL}`,
          { server: { externalURL } },
          /spec\.server\.externalURL must have neither user information nor a query nor a fragment/,
        ],
      ),
      ['no certificate', { server: { tls: {} } }, /spec\.server\.tls\.secretName: Required value/],
      ['a path for a Secret', { server: { tls: { secretName: '../x' } } }, /spec\.server\.tls\.secretName/],
      ...['macp-auth.team.demo', 'macp-auth-keyring.demo'].map((secretName): [string, object, RegExp] => [
        `a Secret of signing keys for a certificate: ${secretName}`,
        { server: { tls: { secretName } } },
        /spec\.server\.tls\.secretName names a Secret of signing keys/,
      ]),
      ['an empty issuer', { issuer: '' }, /spec\.issuer/],
      [
        'a field that does not exist',
        { rotation: { intervall: '1h' } },
        /unknown field "spec\.rotation\.intervall"/,
      ],
    ])('%s', async (_, spec, message) => {
      await expect(bench.apply('bad', spec)).rejects.toThrow(message);
    });

    test.each([
      ['a dot in the name', 'a.b', /no '\.'/],
      ['a long name', 'x'.repeat(41), /at most 40 characters/],
    ])('%s', async (_, name, message) => {
      await expect(bench.apply(name)).rejects.toThrow(message);
    });

    test.each(['issuer', 'audience'])('another %s later', async (field) => {
      await bench.apply('fixed');
      await expect(bench.apply('fixed', { [field]: 'other' })).rejects.toThrow(
        new RegExp(`spec\\.${field} is immutable, since a change would refuse every token at once`),
      );
    });
  });

  test('whose servers cannot start says which error they have', async () => {
    const operator = bench.operator(['--sidecar-image', 'registry.invalid/nothing:1']);
    await bench.apply('imageless');
    await bench.ready('imageless', 'ServerFailing');
    const described = await bench.kubectl.run(['describe', 'mai', 'imageless', '-n', bench.namespace]);
    expect(described).toMatch(/no server pod is ready: (ErrImagePull|ImagePullBackOff)/);
    expect(described).toMatch(/Warning +ServerFailing/);
    await operator.stop();
    const mended = bench.operator();
    await bench.ready('imageless');
    await mended.stop();
  }, 120_000);

  test('whose namespace and name do not fit a label says so', async () => {
    const operator = bench.operator();
    const name = 'n'.repeat(40);
    const namespace = `${bench.namespace}-${'x'.repeat(12)}`;
    await bench.kubectl.run(['create', 'namespace', namespace]);
    await operator.stop();
    const issuer = {
      apiVersion: 'auth.multiagentcoordinationprotocol.io/v1alpha1',
      kind: 'MacpAuthIssuer',
      metadata: { name, namespace },
    };
    await bench.kubectl.run(['apply', '-f', '-'], JSON.stringify(issuer));
    const wide = bench.operator(['--sidecar-image', 'macp-auth-sidecar:dev', '--namespaces', namespace]);
    await eventually('NameTooLong', async () => {
      const line = await bench.kubectl.run(['get', 'mai', name, '-n', namespace, '-o', 'wide']);
      return /False +NameTooLong .*labels hold at most 63/.test(line);
    });
    await bench.kubectl.run(['delete', 'mai', name, '-n', namespace, '--timeout=10s']);
    await bench.kubectl.run(['delete', 'namespace', namespace, '--wait=false']);
    await wide.stop();
  }, 120_000);

  test('that may not be patched says so, and goes on once it may', async () => {
    const as = (text: string) =>
      text.replaceAll('name: macp-auth-operator', 'name: macp-auth-operator-unpatched');
    const lessAllowed = rbac.replace('verbs: [get, list, watch, patch]\n', 'verbs: [get, list, watch]\n');
    expect(lessAllowed).not.toBe(rbac);
    await bench.kubectl.run(['apply', '-f', '-'], as(lessAllowed));
    const operator = bench.operator(undefined, await bench.kubeconfigOf('macp-auth-operator-unpatched'));
    await bench.apply('unpatched');
    const issuer = await bench.ready('unpatched', 'FinalizerFailed');
    expect(issuer.status?.conditions?.[0]?.message).toMatch(/cannot patch resource "macpauthissuers"/);
    await bench.kubectl.run(['apply', '-f', '-'], as(rbac));
    await bench.ready('unpatched');
    await operator.stop();
    await bench.kubectl.run(['delete', 'clusterrole,clusterrolebinding', 'macp-auth-operator-unpatched']);
  }, 180_000);

  test('for want of a permission names it, and goes on with what is allowed', async () => {
    const lessAllowed = rbac.replace(/ {2}- apiGroups: \[""\]\n {4}resources: \[services\]\n.*\n/, '');
    expect(lessAllowed.length).toBeLessThan(rbac.length);
    const as = (text: string) => text.replaceAll('name: macp-auth-operator', 'name: macp-auth-operator-less');
    await bench.kubectl.run(['apply', '-f', '-'], as(lessAllowed));
    const operator = bench.operator(undefined, await bench.kubeconfigOf('macp-auth-operator-less'));
    await bench.apply('forbidden');
    const issuer = await bench.ready('forbidden', 'CannotFollow');
    expect(issuer.status?.conditions?.[0]?.message).toMatch(/may not list and watch services: grant it/);
    expect(issuer.status?.activeKeyID).toBeDefined();
    const server = issuer.status?.conditions?.find(({ type }) => type === 'ServerAvailable');
    expect(server?.message).toMatch(/services .* is forbidden/);
    await bench.kubectl.run(['apply', '-f', '-'], as(rbac));
    await bench.ready('forbidden');
    await operator.stop();
    await bench.kubectl.run(['delete', 'clusterrole,clusterrolebinding', 'macp-auth-operator-less']);
  }, 180_000);
});
