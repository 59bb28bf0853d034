import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { labels, type MacpAuthIssuer, managedBy } from '../../../operator/api/names.ts';
import type { KubeObject } from '../../../operator/cluster/resources.ts';
import { judgeOrphan, type OrphanFacts, tellOrphans } from '../../../operator/orphans.ts';
import { FakeApiServer, failure } from './api-server.ts';
import { hour, issuerOf, minute, objectNamed, t0, until } from './builders.ts';

const issuer = issuerOf();
const { namespace, name } = issuer.metadata;

const podOf = (label: string, metadata: object = {}, phase = 'Pending'): KubeObject => ({
  ...objectNamed('agent', {
    uid: 'uid-agent',
    namespace,
    labels: { [labels.issuer]: label },
    creationTimestamp: new Date(t0).toISOString(),
    ...metadata,
  }),
  apiVersion: 'v1',
  kind: 'Pod',
  status: { phase },
});

const facts: OrphanFacts = {
  knowsIssuers: () => true,
  isTrusted: () => true,
  issuer: (key) => (key.namespace === namespace && key.name === name ? issuer : undefined),
  selects: (found: MacpAuthIssuer, where) => found.metadata.namespace === where,
};

describe('an agent pod', () => {
  const judge = (pod: KubeObject, changed: Partial<OrphanFacts> = {}, now = t0 + minute) =>
    judgeOrphan(pod, { ...facts, ...changed }, now);

  test('whose issuer has keys for it is no orphan', () => {
    expect(judge(podOf(`${namespace}.${name}`))).toBeUndefined();
  });

  test.each([
    [
      'IssuerNotFound',
      podOf(`${namespace}.absent`),
      `there is no MacpAuthIssuer absent in namespace ${namespace}`,
    ],
    ['IssuerNotFound', podOf('absent.demo'), 'there is no MacpAuthIssuer demo in namespace absent'],
    [
      'NamespaceNotSelected',
      podOf(`${namespace}.${name}`, { namespace: 'elsewhere' }),
      `MacpAuthIssuer ${namespace}/${name} has no agents in namespace elsewhere`,
    ],
    [
      'IssuerLabelMalformed',
      podOf('demo'),
      `the label ${labels.issuer} is 'demo': set it to <namespace>.<name>`,
    ],
  ])('is told of %s', (reason, pod, words) => {
    expect(judge(pod)).toEqual({ type: 'Warning', reason, note: expect.stringContaining(words) });
  });

  test('is told nothing in its first seconds, at its end, or of issuers that nobody knows of', () => {
    const orphan = podOf('absent.demo');
    expect(judge(orphan, {}, t0 + 1_000)).toBeUndefined();
    expect(judge(podOf('absent.demo', {}, 'Succeeded'))).toBeUndefined();
    expect(judge(podOf('absent.demo', { deletionTimestamp: 'now' }))).toBeUndefined();
    expect(judge(orphan, { knowsIssuers: (where) => where === namespace })).toBeUndefined();
    const known = { knowsIssuers: (where: string) => where === 'absent' };
    expect(judge(orphan, known)).toMatchObject({ reason: 'IssuerNotFound' });
    expect(judge(podOf('demo'), { knowsIssuers: () => false })).toMatchObject({
      reason: 'IssuerLabelMalformed',
    });
  });

  test('is not told to have a selector set that would be ignored', () => {
    const pod = podOf(`${namespace}.${name}`, { namespace: 'elsewhere' });
    expect(judge(pod)?.note).toMatch(/have its spec\.agents\.namespaceSelector select the namespace/);
    const untrusted = judge(pod, { isTrusted: () => false });
    expect(untrusted?.reason).toBe('NamespaceNotSelected');
    expect(untrusted?.note).toMatch(/--trusted-namespaces\), so run the pod in team/);
    expect(untrusted?.note).not.toContain('namespaceSelector');
  });

  test("is told to run elsewhere where it is in a namespace of Kubernetes' own, which no selector selects", () => {
    const pod = podOf(`${namespace}.${name}`, { namespace: 'kube-system' });
    for (const isTrusted of [() => true, () => false]) {
      const told = judge(pod, { isTrusted });
      expect(told?.reason).toBe('NamespaceNotSelected');
      expect(told?.note).toContain('begin with kube- get no keys from elsewhere, so run the pod in team');
      expect(told?.note).not.toMatch(/namespaceSelector|--trusted-namespaces/);
    }
    expect(judge(podOf(`${namespace}.${name}`, { namespace: 'kubernetes' }))?.note).toContain(
      'namespaceSelector',
    );
  });
});

describe('an orphan', () => {
  let api: FakeApiServer;
  beforeEach(async () => {
    api = await FakeApiServer.start();
    now = t0 + minute;
  });
  afterEach(() => api.stop());

  let now: number;
  const start = (known: Partial<OrphanFacts> = {}) => {
    const lines: string[] = [];
    tellOrphans({
      ...facts,
      namespaces: [namespace],
      ...known,
      client: api.client(),
      now: () => now,
      lookMs: 10,
      log: pino({}, { write: (line) => void lines.push(line) }),
      signal: api.following.signal,
    });
    return lines;
  };
  const events = () => api.seen.filter(({ method }) => method === 'POST');
  const aFewLooks = () => new Promise((resolve) => setTimeout(resolve, 100));
  // The pod is all that there is; `answers` are those to writes, before the server's own.
  const serve = (pod: KubeObject, answers: ReturnType<typeof failure>[] = []) => {
    api.intercept = ({ method, query }) => {
      if (method === 'POST') return answers.shift();
      if (query.get('watch') === 'true') return undefined;
      return { code: 200, body: { metadata: { resourceVersion: '1' }, items: [pod] } };
    };
  };

  test('gets one Event for each reason, however often it is looked at', async () => {
    serve(podOf(`${namespace}.absent`));
    let found: MacpAuthIssuer | undefined;
    start({ issuer: () => found, selects: () => false });
    await until(() => api.watches.length > 0);
    expect(api.watches[0]?.query.get('labelSelector')).toBe(
      `${labels.issuer},${labels.managedBy}!=${managedBy}`,
    );
    await until(() => events().length === 1);
    await aFewLooks();
    found = issuer;
    await until(() => events().length === 2);
    await aFewLooks();
    const bodies = events().map(({ body }) => JSON.parse(body));
    expect(bodies.map(({ reason }) => reason)).toEqual(['IssuerNotFound', 'NamespaceNotSelected']);
    expect(bodies[0].regarding).toMatchObject({ kind: 'Pod', namespace, name: 'agent', uid: 'uid-agent' });
    expect(new Set(bodies.map(({ metadata }) => metadata.name)).size).toBe(2);
  });

  test('is told again what the network lost, and not what the API server refused', async () => {
    const passing = [failure(503, 'ServiceUnavailable'), failure(429, 'TooManyRequests')];
    serve(podOf(`${namespace}.absent`), [...passing, failure(403, 'Forbidden')]);
    const lines = start();
    await until(() => lines.length === 3);
    await aFewLooks();
    expect(events()).toHaveLength(3);
  });

  test('is told again each hour, when the last Event is gone, under another name', async () => {
    serve(podOf(`${namespace}.absent`));
    start();
    await until(() => events().length === 1);
    now = t0 + hour - 1;
    await aFewLooks();
    expect(events()).toHaveLength(1);
    now = t0 + hour;
    await until(() => events().length === 2);
    await aFewLooks();
    const names = events().map(({ body }) => JSON.parse(body).metadata.name);
    expect(new Set(names).size).toBe(2);
  });

  test('is told once by two operators, and after a restart', async () => {
    serve(podOf(`${namespace}.absent`));
    const before = start();
    const after = start();
    await until(() => events().length === 2);
    await aFewLooks();
    expect(new Set(events().map(({ body }) => JSON.parse(body).metadata.name)).size).toBe(1);
    expect([before, after]).toEqual([[], []]);
  });
});
