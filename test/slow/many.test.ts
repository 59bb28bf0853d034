import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { MacpAuthIssuer } from '../../operator/api/names.ts';
import { resources } from '../../operator/cluster/resources.ts';
import { type Bench, eventually, openBench } from '../integration/support.ts';

const count = 100;
const quietMs = 300_000;

describe(`${count} issuers at once`, () => {
  let bench: Bench;

  beforeAll(async () => {
    bench = await openBench('many');
  }, 120_000);
  afterAll(() => bench?.close(), 120_000);

  // One server each: what is measured is the operator, not how many processes a machine can hold.
  test('converge, and are not written to for five minutes afterwards', async () => {
    bench.operator();
    const issuers = Array.from({ length: count }, (_, i) => ({
      apiVersion: resources.issuers.apiVersion,
      kind: resources.issuers.kind,
      metadata: { name: `many-${i}`, namespace: bench.namespace },
      spec: { server: { replicas: 1 } },
    }));
    await bench.kubectl.run(
      ['apply', '-f', '-'],
      JSON.stringify({ apiVersion: 'v1', kind: 'List', items: issuers }),
    );
    await eventually(
      'all Ready',
      async () => {
        const { items } = await bench.client.list(resources.issuers, bench.namespace, {});
        const ready = (items as unknown as MacpAuthIssuer[]).filter(({ status }) =>
          status?.conditions?.some((condition) => condition.type === 'Ready' && condition.status === 'True'),
        );
        if (ready.length < count) throw new Error(`${ready.length} are`);
        return true;
      },
      400,
    );
    const { items } = await bench.client.list(resources.issuers, bench.namespace, {});
    const kids = (items as unknown as MacpAuthIssuer[]).flatMap(
      ({ status }) => status?.keys?.map(({ keyID }) => keyID) ?? [],
    );
    expect(new Set(kids).size).toBe(3 * count);
    const before = await bench.writes();
    expect(before.length).toBeGreaterThan(7 * count);
    await new Promise((resolve) => setTimeout(resolve, quietMs));
    expect((await bench.writes()).slice(before.length)).toEqual([]);
  }, 900_000);
});
