import { describe, expect, test } from '@jest/globals';
import { labels } from '../../../operator/api/names.ts';
import { secretTypes } from '../../../operator/build/files.ts';
import type { KubeObject } from '../../../operator/cluster/resources.ts';
import { type Kind, kinds } from '../../../operator/observe/kinds.ts';
import { issuerOf, keyringOf, objectNamed, objectsOf } from './builders.ts';

const kept = (kind: Kind, object: object): KubeObject =>
  (kind.keep as NonNullable<Kind['keep']>)(object as KubeObject);
const named = (name: string, more: object = {}) => ({ ...objectNamed(name), ...more });

describe('what the cache keeps', () => {
  const issuer = issuerOf();
  const { keyring, agentSecret } = objectsOf(issuer, keyringOf());

  test('of a keyring is nothing that is in it', () => {
    const { data, ...rest } = keyring;
    expect(data).toBeDefined();
    expect(kept(kinds.secrets, keyring)).toEqual(rest);
  });

  test('of an agent Secret is all, which is compared with what it should be', () => {
    expect(kept(kinds.secrets, agentSecret)).toEqual(agentSecret);
  });

  test('of a pod is what tells whether it can be asked, and why it cannot', () => {
    const status = {
      podIP: '10.0.0.1',
      conditions: [{ type: 'Ready', status: 'True' }],
      containerStatuses: [{ name: 'jwks-server' }],
    };
    const pod = named('a', {
      spec: { containers: [{}] },
      status: { ...status, hostIP: '10.0.0.2', phase: 'Running' },
    });
    expect(kept(kinds.pods, pod)).toEqual(named('a', { status }));
    expect(kept(kinds.pods, named('b', { spec: {} }))).toEqual(named('b', { status: {} }));
  });

  test('of a Deployment is its spec, and what its conditions say', () => {
    const spec = { replicas: 2 };
    const conditions = [{ type: 'ReplicaFailure', status: 'True' }];
    expect(kept(kinds.deployments, named('a', { spec, status: { conditions, replicas: 2 } }))).toEqual(
      named('a', { spec, status: { conditions } }),
    );
  });

  test('of an issuer is all but its annotations', () => {
    const annotated = { ...issuer, metadata: { ...issuer.metadata, annotations: { 'kubectl…': '{}' } } };
    expect(kept(kinds.issuers, annotated)).toEqual(issuer);
  });
});

describe('what the cache finds together', () => {
  test("are the pods behind an issuer's Service, whoever made them", () => {
    const pod = objectNamed('stranger', { labels: { [labels.instance]: 'demo.v1' } });
    expect(kinds.pods.issuerOf(pod)).toEqual({ namespace: 'team', name: 'demo.v1' });
    expect(kinds.pods.groupOf(pod)).toBe('team.demo.v1');
    expect(kinds.pods.groupOf(objectNamed('other'))).toBeUndefined();
  });

  test('are the agent Secrets of an issuer by their name, with labels or without, and no others', () => {
    expect(kinds.secrets.groupOf(named('macp-auth.team.demo', { type: secretTypes.agent }))).toBe(
      'macp-auth.team.demo',
    );
    expect(kinds.secrets.groupOf(named('macp-auth.team.demo', { type: 'Opaque' }))).toBeUndefined();
  });
});
