import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import type { MacpAuthIssuer } from '../../operator/api/names.ts';
import { resources } from '../../operator/cluster/resources.ts';
import { leader, operatorPods } from './leader.ts';
import { eventually, openPlace, type Place, readyCondition } from './place.ts';
import { agentPod, providePrograms } from './pods.ts';
import { writesOf } from './writes.ts';

const count = 20;
// Ten minutes on a machine that has the time; the variable CI says that this one has not.
const quietMs = process.env.CI ? 120_000 : 600_000;

jest.setTimeout(quietMs + 600_000);

let place: Place;
beforeAll(async () => {
  place = await openPlace('quiet');
  await providePrograms(place);
}, 900_000);
afterAll(() => place?.close());

/** What kubelet says of each pod by name: conditions with their times, containers with their restarts. */
const statuses = async () =>
  Object.fromEntries((await pods()).map(({ metadata, status }) => [metadata.name, status]));

const pods = async () => [...(await place.pods('')), ...(await operatorPods(place.cluster))];

/** Lines of a pod's programs that are a warning or worse, or that no program of ours writes; since milliseconds since 1970. */
async function complaints(namespace: string, pod: string, sinceMs: number): Promise<string[]> {
  const since = new Date(sinceMs).toISOString();
  const args = ['logs', '-n', namespace, pod, '--all-containers', `--since-time=${since}`];
  const lines = (await place.cluster.kubectl.run(args)).split('\n').filter(Boolean);
  const isFine = (line: string) => {
    try {
      const { level, event } = JSON.parse(line);
      return event === 'token' || level === 'info';
    } catch {
      return false;
    }
  };
  return lines.filter((line) => !isFine(line)).map((line) => `${pod}: ${line}`);
}

test(`${count} issuers and an agent: for ${quietMs / 60_000} minutes nothing is written, complains or starts anew`, async () => {
  const { apiVersion, kind } = resources.issuers;
  const names = Array.from({ length: count }, (_, index) => `quiet-${index}`);
  await place.apply(...names.map((name) => ({ apiVersion, kind, metadata: { name }, spec: {} })));
  await eventually(
    'all Ready',
    async () => {
      const { items } = await place.cluster.client.list(resources.issuers, place.namespace, {});
      const ready = (items as unknown as MacpAuthIssuer[]).filter(
        (issuer) => readyCondition(issuer)?.status === 'True',
      );
      if (ready.length === count) return true;
      throw new Error(`${ready.length} are`);
    },
    300,
  );
  await place.apply(agentPod(place, 'quiet-0', 'agent', 'stay', { env: { SENDER: 'agent://quiet' } }));
  await place.wait('pod/agent', 'Ready');

  const writes = writesOf(place);
  const settled = await eventually(
    '20 seconds without a write',
    async () => {
      const before = await writes();
      await sleep(20_000);
      const now = await writes();
      if (now.length === before.length) return now;
      throw new Error(now.slice(before.length).slice(0, 10).join('; '));
    },
    180,
  );
  expect(settled.length).toBeGreaterThan(7 * count);

  const led = await leader(place.cluster);
  const before = await statuses();
  expect(Object.keys(before).length).toBeGreaterThan(2 * count);
  await sleep(quietMs);
  expect(await statuses()).toEqual(before);
  const after = await eventually('a look at what was written', writes);
  expect(after.slice(settled.length)).toEqual([]);
  const said = await Promise.all(
    (await pods()).map(({ metadata }) => complaints(metadata.namespace, metadata.name, led.renewedMs)),
  );
  expect(said.flat()).toEqual([]);
  const { identity, renewedMs } = await leader(place.cluster);
  expect(identity).toBe(led.identity);
  // It led to the end.
  expect(renewedMs - led.renewedMs).toBeGreaterThan(quietMs - 10_000);

  // What would have been written would have been seen.
  await place.kubectl(['annotate', 'mai', 'quiet-0', 'example.com/seen=true']);
  await eventually('that write', async () => {
    const last = (await writes()).slice(after.length).join('; ');
    if (/macpauthissuer.* quiet-0/i.test(last)) return true;
    throw new Error(last);
  });
});
