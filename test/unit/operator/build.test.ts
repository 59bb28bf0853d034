import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { annotations, labels } from '../../../operator/api/names.ts';
import type { MacpAuthIssuerSpec } from '../../../operator/api/v1alpha1.ts';
import {
  agentSecret,
  jwksConfigMap,
  jwksMaxAgeSeconds,
  readDistributed,
  readPublished,
} from '../../../operator/build/files.ts';
import { keyringSecret } from '../../../operator/build/keyring-secret.ts';
import { revisionOf } from '../../../operator/build/metadata.ts';
import {
  jwksURL,
  serverDeployment,
  serverPodDisruptionBudget,
  serverService,
} from '../../../operator/build/server.ts';
import type { KubeObject } from '../../../operator/cluster/resources.ts';
import { decodeKeyring } from '../../../operator/plan/codec.ts';
import { type KeyringKey, publicKeys, spareKeys } from '../../../operator/plan/keyring.ts';
import { fileNames, settingsFile, signingKeysFile } from '../../../sidecar/contract/files.ts';
import { publicJWKS } from '../../../sidecar/contract/jwk.ts';
import {
  active,
  day,
  defaultSpec,
  held,
  hour,
  issuerOf,
  keyringOf,
  objectNamed,
  privateValues,
  publishedOnly,
  secretFile,
  spare,
  t0,
} from './builders.ts';

// Everything that an object says, also what is in base64.
function allText(object: KubeObject): string {
  const data = Object.values((object.data ?? {}) as Record<string, string>);
  const decoded =
    object.kind === 'Secret' ? data.map((text) => Buffer.from(text, 'base64').toString()) : data;
  return [JSON.stringify(object), ...decoded].join('\n');
}

const issuer = issuerOf();
const rsa = { active: active({ algorithm: 'RS256' }), spare: spare({ algorithm: 'RS256' }) };
const pool = {
  active: [active(), active({ activateAt: t0 + hour, signUntil: t0 + 9 * day }), rsa.active],
  spare: [spare(), spare(), spare(), rsa.spare],
  publicOnly: [publishedOnly(), publishedOnly({ activateAt: t0, signUntil: t0 + day })],
};
const keyrings = fc
  .record({
    revision: fc.integer({ min: 1, max: 1_000_000 }),
    keys: fc
      .shuffledSubarray([...pool.active, ...pool.spare, ...pool.publicOnly], { minLength: 1 })
      .filter((keys) => keys.some((key) => pool.active.includes(key))),
  })
  .map((some) => keyringOf(some));

describe('what faces the network or agents holds no key that it need not', () => {
  test('the JWKS ConfigMap holds no private value', () => {
    fc.assert(
      fc.property(keyrings, (keyring) => {
        const text = allText(jwksConfigMap(issuer, publicKeys(keyring), keyring.revision));
        for (const key of keyring.keys) {
          expect(text).toContain(key.kid);
          for (const value of privateValues(key)) expect(text).not.toContain(value);
        }
      }),
    );
  });

  test('the agent Secret holds the private values of keys that may sign, and of no spare', () => {
    fc.assert(
      fc.property(keyrings, (keyring) => {
        const text = allText(agentSecret(issuer, 'team', keyring));
        for (const key of keyring.keys) {
          expect(text).toContain(key.kid);
          for (const value of privateValues(key)) {
            if (key.activateAt === undefined) expect(text).not.toContain(value);
            else expect(text).toContain(value);
          }
        }
      }),
    );
  });

  test('the server has neither a Secret nor a token of the API server', () => {
    const deployment = serverDeployment(issuer, 'image:1');
    expect(JSON.stringify(deployment)).not.toMatch(/secret|serviceAccountName|projected/i);
    expect(deployment).toMatchObject({
      spec: { template: { spec: { automountServiceAccountToken: false, enableServiceLinks: false } } },
    });
    expect(podSpec(deployment).volumes).toEqual([{ name: 'files', configMap: { name: 'macp-auth-demo' } }]);
  });
});

describe('the JWKS ConfigMap', () => {
  const keyring = keyringOf({ revision: 8 });
  const configMap = jwksConfigMap(issuer, publicKeys(keyring), 8);
  const data = configMap.data as Record<string, string>;

  test('is what the sidecar reads as the files of a server', () => {
    expect(Object.keys(data).toSorted()).toEqual([fileNames.jwks, fileNames.settings].toSorted());
    expect(publicJWKS.parse(JSON.parse(data[fileNames.jwks] ?? ''))).toEqual({ keys: publicKeys(keyring) });
    expect(settingsFile.parse(JSON.parse(data[fileNames.settings] ?? ''))).toEqual({
      role: 'publish',
      revision: 8,
      jwksMaxAgeSeconds: 30,
    });
  });

  test('goes with the issuer, and says of which revision it is', () => {
    expect(configMap.metadata.ownerReferences).toEqual([
      expect.objectContaining({ kind: 'MacpAuthIssuer', name: 'demo', uid: 'issuer-uid', controller: true }),
    ]);
    expect(revisionOf(configMap)).toBe(8);
  });

  test('reads back as what was published', () => {
    expect(readPublished(configMap)).toEqual(publicKeys(keyring));
  });

  test.each([
    ['no object', undefined],
    ['no data', { ...configMap, data: undefined }],
    ['no JSON', { ...configMap, data: { [fileNames.jwks]: '{' } }],
    ['no keys', { ...configMap, data: { [fileNames.jwks]: '{"keys":[]}' } }],
    [
      'a private key',
      { ...configMap, data: { [fileNames.jwks]: JSON.stringify({ keys: [active().privateKey] }) } },
    ],
  ])('with %s reads as nothing', (_, object) => {
    expect(readPublished(object)).toEqual([]);
  });

  test.each([
    ['5m', 30],
    ['10m', 60],
    ['168h', 60],
    ['19s', 1],
    ['1s', 0],
  ])('with verifierCacheTTL %s it may be kept for %i s', (verifierCacheTTL, seconds) => {
    const some = issuerOf({ rotation: { ...defaultSpec.rotation, verifierCacheTTL } });
    expect(jwksMaxAgeSeconds(some)).toBe(seconds);
  });
});

describe('the agent Secret', () => {
  const keyring = keyringOf({ revision: 8, keys: [active(), spare(), spare(), publishedOnly()] });
  const secret = agentSecret(issuerOf({ ttl: { default: '90s', max: '2h' } }), 'agents', keyring);

  test('is what the sidecar reads as the files of an agent', () => {
    expect(Object.keys(secret.data as object).toSorted()).toEqual(Object.values(fileNames).toSorted());
    expect(signingKeysFile.parse(secretFile(secret, 'keys')).keys).toHaveLength(1);
    expect(publicJWKS.parse(secretFile(secret, 'jwks'))).toEqual({ keys: publicKeys(keyring) });
    expect(settingsFile.parse(secretFile(secret, 'settings'))).toEqual({
      role: 'mint',
      revision: 8,
      jwksMaxAgeSeconds: 30,
      issuer: 'macp-auth-service',
      audience: 'macp-runtime',
      defaultTTLSeconds: 90,
      maxTTLSeconds: 7200,
    });
  });

  test('bounds its keys: from activateAt to signUntil, and a warning from half of grace on', () => {
    expect(secretFile(secret, 'keys')).toMatchObject({
      keys: [
        {
          activateAt: '2026-03-01T00:00:00.000Z',
          signUntil: '2026-04-07T00:00:00.000Z',
          warnFrom: '2026-04-03T12:00:00.000Z',
        },
      ],
    });
  });

  test('has no owner, and lies where it is asked to', () => {
    expect(secret.metadata).toMatchObject({ namespace: 'agents', name: 'macp-auth.team.demo' });
    expect(secret.metadata.ownerReferences).toBeUndefined();
    expect(secret.metadata.finalizers).toBeUndefined();
  });

  test('reads back as what was distributed', () => {
    const [first] = keyring.keys;
    expect(readDistributed(secret)).toEqual([{ ...held(first as KeyringKey), warnFrom: expect.any(String) }]);
  });

  test.each([
    ['no object', undefined],
    ['no data', { ...secret, data: undefined }],
    ['no JSON', { ...secret, data: { [fileNames.keys]: 'e30=' } }],
    ['no base64', { ...secret, data: { [fileNames.keys]: '%%%' } }],
  ])('with %s reads as nothing', (_, object) => {
    expect(readDistributed(object)).toEqual([]);
  });

  test('whose settings are damaged still tells of its keys', () => {
    const damaged = { ...secret, data: { ...(secret.data as object), [fileNames.settings]: 'e30=' } };
    expect(readDistributed(damaged)).toMatchObject([{ kid: keyring.keys[0]?.kid }]);
  });
});

describe('the grants in an agent Secret', () => {
  type Grants = NonNullable<MacpAuthIssuerSpec['agents']>['grants'];
  const settingsOf = (grants: Grants, namespace = 'team-a') => {
    const some = issuerOf(grants && { agents: { grants } });
    return settingsFile.parse(secretFile(agentSecret(some, namespace, keyringOf()), 'settings'));
  };
  const scopes = {
    can_start_sessions: true,
    can_manage_mode_registry: false,
    is_observer: false,
    allowed_modes: [],
    max_open_sessions: 0,
  };

  test('are those of the spec, in its order, and durations in seconds', () => {
    const sender = 'agent://{namespace}/{serviceAccount}';
    const first = { serviceAccounts: ['planner'], sender, scopes, mintsPerMinute: 600 };
    const grants = [{ ...first, namespaces: ['team-a'], maxTTL: '1m30s' }, { maxTTL: '1.5s' }, {}];
    expect(settingsOf(grants)).toMatchObject({
      grants: [{ ...first, namespaces: ['team-a'], maxTTLSeconds: 90 }, { maxTTLSeconds: 1.5 }, {}],
    });
  });

  test.each<[string, Grants, unknown]>([
    ['no grants: no member, and nothing is bounded', undefined, undefined],
    ['none of another namespace', [{ namespaces: ['team-b'] }, { sender: 'a' }], [{ sender: 'a' }]],
    ['nobody else in the list', [{ namespaces: ['team-b', 'team-a'] }], [{ namespaces: ['team-a'] }]],
    ['none that is for here: an empty list, and nothing is minted', [{ namespaces: ['team-b'] }], []],
  ])('%s', (_, grants, expected) => {
    expect((settingsOf(grants) as { grants?: unknown }).grants).toEqual(expected);
  });
});

describe('the keyring Secret', () => {
  const keyring = keyringOf({ revision: 8 });

  test('has no owner and no finalizer, so that neither an issuer nor a namespace hangs on it', () => {
    const { metadata } = keyringSecret(issuer, keyring, undefined);
    expect(metadata.ownerReferences).toBeUndefined();
    expect(metadata.finalizers).toBeUndefined();
    expect(metadata.resourceVersion).toBeUndefined();
  });

  test('holds what is read back', () => {
    const { data } = keyringSecret(issuer, keyring, undefined) as unknown as { data: Record<string, string> };
    const text = Buffer.from(data['keyring.json'] ?? '', 'base64').toString();
    expect(decodeKeyring(text)).toEqual({ keyring });
  });

  test('replaces the one that was read, and leaves what others put on it', () => {
    const observed = {
      ...objectNamed('macp-auth-keyring.demo', {
        uid: 'u',
        resourceVersion: '77',
        labels: { theirs: '1', [labels.component]: 'damaged' },
        annotations: { theirs: '2', [annotations.revision]: '3' },
      }),
      kind: 'Secret',
    };
    const { metadata } = keyringSecret(issuer, keyring, observed);
    expect(metadata).toMatchObject({
      uid: 'u',
      resourceVersion: '77',
      labels: { theirs: '1', [labels.component]: 'keyring' },
      annotations: { theirs: '2', [annotations.revision]: '8' },
    });
  });
});

describe('every object', () => {
  const keyring = keyringOf();
  const all = [
    jwksConfigMap(issuer, publicKeys(keyring), 1),
    agentSecret(issuer, 'team', keyring),
    keyringSecret(issuer, keyring, undefined),
    serverDeployment(issuer, 'image:1'),
    serverService(issuer),
    serverPodDisruptionBudget(issuer),
  ];
  test.each(all.map((object) => [object.kind, object.metadata.name, object] as const))(
    '%s %s carries the labels by which the operator finds it',
    (_kind, _name, { metadata }) => {
      expect(metadata.namespace).toBe('team');
      expect(metadata.labels).toMatchObject({
        'app.kubernetes.io/managed-by': 'macp-auth-operator',
        'app.kubernetes.io/instance': 'demo',
        [labels.issuer]: 'team.demo',
      });
    },
  );

  test('is built the same each time', () => {
    fc.assert(
      fc.property(keyrings, (some) => {
        expect(JSON.stringify(agentSecret(issuer, 'team', some))).toBe(
          JSON.stringify(agentSecret(issuer, 'team', structuredClone(some))),
        );
      }),
    );
  });

  test('names of spares are published, their private parts are in the keyring alone', () => {
    const [first] = spareKeys(keyring);
    const [d] = privateValues(first as KeyringKey);
    const holders = all
      .filter((object) => allText(object).includes(d as string))
      .map(({ metadata }) => metadata.name);
    expect(holders).toEqual(['macp-auth-keyring.demo']);
  });
});

describe('the server', () => {
  test('is found by the Service and counted by the budget, by the very labels of its pods', () => {
    const deployment = serverDeployment(issuer, 'image:1') as unknown as {
      spec: { selector: { matchLabels: object }; template: { metadata: { labels: object } } };
    };
    const { matchLabels } = deployment.spec.selector;
    expect(deployment.spec.template.metadata.labels).toMatchObject(matchLabels);
    expect(serverService(issuer)).toMatchObject({ spec: { selector: matchLabels } });
    expect(serverPodDisruptionBudget(issuer)).toMatchObject({
      spec: { maxUnavailable: 1, selector: { matchLabels } },
    });
  });

  test('selects by labels that never change, since a selector is immutable', () => {
    const before = serverDeployment(issuer, 'image:1') as unknown as { spec: { selector: unknown } };
    const other = issuerOf(
      { algorithm: 'RS256', server: { ...defaultSpec.server, replicas: 5 } },
      undefined,
      {
        uid: 'another',
        generation: 9,
      },
    );
    const after = serverDeployment(other, 'image:2') as unknown as { spec: { selector: unknown } };
    expect(after.spec.selector).toEqual(before.spec.selector);
  });

  test('runs without rights', () => {
    const spec = podSpec(serverDeployment(issuer, 'image:1'));
    expect(spec.securityContext).toMatchObject({ runAsNonRoot: true });
    expect(spec.containers[0]).toMatchObject({
      image: 'image:1',
      securityContext: {
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      },
      volumeMounts: [{ name: 'files', readOnly: true }],
    });
  });

  const wishes: [string, Partial<MacpAuthIssuerSpec['server']>, object][] = [
    ['nodeSelector', { nodeSelector: { disk: 'ssd' } }, { nodeSelector: { disk: 'ssd' } }],
    ['tolerations', { tolerations: [{ operator: 'Exists' }] }, { tolerations: [{ operator: 'Exists' }] }],
    ['affinity', { affinity: { podAffinity: {} } }, { affinity: { podAffinity: {} } }],
    [
      'resources, numbers as text',
      { resources: { limits: { cpu: 2, memory: '1Gi' } } },
      { containers: [expect.objectContaining({ resources: { limits: { cpu: '2', memory: '1Gi' } } })] },
    ],
  ];
  test.each(wishes)('follows server.%s', (_, server, expected) => {
    const some = issuerOf({ server: { ...defaultSpec.server, ...server } });
    expect(podSpec(serverDeployment(some, 'image:1'))).toMatchObject(expected);
  });

  test('has no member of a wish that was not made', () => {
    expect(Object.keys(podSpec(serverDeployment(issuer, 'image:1')))).not.toEqual(
      expect.arrayContaining([expect.stringMatching(/nodeSelector|tolerations|affinity/)]),
    );
  });

  test('is reached under a URL that names the Service', () => {
    expect(jwksURL(issuer)).toBe('http://macp-auth-demo.team.svc/.well-known/jwks.json');
    expect(serverService(issuer)).toMatchObject({
      metadata: { name: 'macp-auth-demo' },
      spec: { type: 'ClusterIP', ports: [{ port: 80, targetPort: 'jwks' }] },
    });
  });

  test('is reached under the external URL where there is one', () => {
    const externalURL = 'https://jwks.example.com/keys';
    expect(jwksURL(issuerOf({ server: { ...defaultSpec.server, externalURL } }))).toBe(externalURL);
  });

  describe('with a certificate', () => {
    const tls = { secretName: 'web-tls' };
    const some = issuerOf({ server: { ...defaultSpec.server, tls } });
    const spec = podSpec(serverDeployment(some, 'image:1'));

    test('listens for https beside http, and the URL for runtimes stays http', () => {
      expect(jwksURL(some)).toBe(jwksURL(issuer));
      expect(serverService(some)).toMatchObject({
        spec: {
          ports: [
            { name: 'http', port: 80, targetPort: 'jwks' },
            { name: 'https', port: 443, targetPort: 'https' },
          ],
        },
      });
      expect(spec.containers[0]).toMatchObject({
        env: expect.arrayContaining([
          { name: 'PORT', value: '3200' },
          { name: 'MACP_AUTH_TLS_PORT', value: '3443' },
          { name: 'MACP_AUTH_TLS_DIR', value: '/var/run/macp-auth-tls' },
        ]),
        ports: expect.arrayContaining([{ name: 'https', containerPort: 3443, protocol: 'TCP' }]),
        volumeMounts: [
          { name: 'files', readOnly: true },
          { name: 'tls', mountPath: '/var/run/macp-auth-tls', readOnly: true },
        ],
      });
    });

    test('starts without it, and mounts nothing else of its Secret', () => {
      expect(spec.volumes).toContainEqual({
        name: 'tls',
        secret: {
          secretName: 'web-tls',
          optional: true,
          items: [
            { key: 'tls.crt', path: 'tls.crt' },
            { key: 'tls.key', path: 'tls.key' },
          ],
        },
      });
    });

    test('is ready by http alone', () => {
      for (const probe of ['startupProbe', 'readinessProbe', 'livenessProbe'])
        expect(spec.containers[0]).toMatchObject({ [probe]: { httpGet: { port: 'health' } } });
    });
  });

  test("the Service follows the issuer's type and annotations", () => {
    const service = { type: 'LoadBalancer' as const, annotations: { cloud: 'internal' } };
    const some = issuerOf({ server: { ...defaultSpec.server, service } });
    expect(serverService(some)).toMatchObject({
      metadata: { annotations: { cloud: 'internal' } },
      spec: { type: 'LoadBalancer' },
    });
  });
});

describe('the revision that an object derives from', () => {
  const withRevision = (text: string) => objectNamed('a', { annotations: { [annotations.revision]: text } });
  test.each([
    ['no object', undefined, 0],
    ['no annotation', objectNamed('a'), 0],
    ['a number', withRevision('12'), 12],
    ['no number', withRevision('twelve'), 0],
    ['an empty text', withRevision(''), 0],
  ])('of %s', (_, object, revision) => {
    expect(revisionOf(object)).toBe(revision);
  });

  test.each(['Infinity', '1e308', '9007199254740993', '1.5', '0x10', '-3'])(
    'is none that counting could not have reached: %s',
    (text) => {
      expect(revisionOf(withRevision(text))).toBe(0);
    },
  );
});

function podSpec(deployment: KubeObject) {
  const { spec } = deployment as unknown as {
    spec: { template: { spec: { [member: string]: unknown; containers: object[]; volumes: object[] } } };
  };
  return spec.template.spec;
}
