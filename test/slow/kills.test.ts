import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { objectNames } from '../../operator/api/names.ts';
import type { KubeObject } from '../../operator/cluster/resources.ts';
import { type Bench, openBench } from '../integration/support.ts';

// Since when a key is served is written down as servers come up: the keys themselves are what must stay.
function keysIn(secret: KubeObject | undefined): { kid: string; privateKey: object }[] {
  const data = secret?.data as Record<string, string> | undefined;
  const { keys } = JSON.parse(Buffer.from(data?.['keyring.json'] ?? '', 'base64').toString());
  return keys.map(({ kid, privateKey }: { kid: string; privateKey: object }) => ({ kid, privateKey }));
}

describe('an operator that is killed', () => {
  let bench: Bench;

  beforeAll(async () => {
    bench = await openBench('kills');
  }, 120_000);
  afterAll(() => bench?.close(), 60_000);

  // Twenty points in the first half second of an issuer, spread evenly.
  const delays = Array.from({ length: 20 }, (_, i) => 50 + Math.round((i * 450) / 19));

  test('20 times, 50 to 500 ms after an issuer was created, makes one set of keys', async () => {
    for (const delay of delays) {
      const name = `after-${delay}`;
      const doomed = bench.operator();
      // Started, so that the kill falls into its work on the issuer and not into its boot.
      while (!doomed.output().includes('"started"')) await new Promise((resolve) => setTimeout(resolve, 20));
      await bench.apply(name);
      await new Promise((resolve) => setTimeout(resolve, delay));
      doomed.signal('SIGKILL');
      await doomed.ended;
      const keyring = objectNames({ namespace: bench.namespace, name }).keyring;
      const atDeath = await bench.secret(keyring);

      const next = bench.operator();
      const issuer = await bench.ready(name);
      const after = await bench.secret(keyring);
      if (atDeath) expect(keysIn(after)).toEqual(keysIn(atDeath));
      expect(issuer.status?.keys?.map(({ state }) => state).sort()).toEqual(['Active', 'Next', 'Next']);
      expect((await bench.published(name)).sort()).toEqual(bench.keyIDs(issuer).sort());
      expect((await bench.agentFiles(name)).keys.map(({ kid }) => kid)).toEqual([issuer.status?.activeKeyID]);
      await next.stop();
      await bench.kubectl.run([
        'delete',
        'deployment',
        `macp-auth-${name}`,
        '-n',
        bench.namespace,
        '--wait=false',
      ]);
    }
    const creations = await bench.cluster.readAudit(
      ({ verb, objectRef, responseStatus }) =>
        verb === 'create' &&
        responseStatus?.code === 201 &&
        objectRef?.resource === 'secrets' &&
        objectRef.namespace === bench.namespace &&
        (objectRef.name?.startsWith('macp-auth-keyring.') ?? false),
    );
    expect(creations.map(({ objectRef }) => objectRef?.name).sort()).toEqual(
      delays
        .map((delay) => objectNames({ namespace: bench.namespace, name: `after-${delay}` }).keyring)
        .sort(),
    );
  }, 900_000);
});
