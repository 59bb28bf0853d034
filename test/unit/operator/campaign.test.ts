import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { type Campaign, type CampaignOptions, startCampaign } from '../../../operator/lead/campaign.ts';
import type { LeaseSpec } from '../../../operator/lead/decide.ts';
import { FakeApiServer, failure } from './api-server.ts';
import { until } from './builders.ts';

const timing = { leaseMs: 2_000, renewDeadlineMs: 1_000, retryMs: 100 };
const path = '/apis/coordination.k8s.io/v1/namespaces/system/leases/operator';

let api: FakeApiServer;
const campaigns: Campaign[] = [];
beforeEach(async () => {
  api = await FakeApiServer.start();
});
afterEach(async () => {
  await Promise.all(campaigns.splice(0).map((campaign) => campaign.end()));
  await api.stop();
});

/** A candidate and what it told. */
function candidate(identity: string, more: Partial<CampaignOptions> = {}) {
  const told: string[] = [];
  const lines: string[] = [];
  const campaign = startCampaign({
    client: api.client(undefined, { timeoutMs: timing.renewDeadlineMs / 2 }),
    lease: { namespace: 'system', name: 'operator' },
    identity,
    timing,
    onLeading: () => told.push('leading'),
    onLost: (reason) => told.push(reason),
    log: pino({ base: null }, { write: (line: string) => lines.push(line) }),
    ...more,
  });
  campaigns.push(campaign);
  return { campaign, told, messages: () => lines.map((line) => JSON.parse(line).msg as string) };
}

const spec = () => api.objects.get(path)?.spec as LeaseSpec;
const put = (lease: LeaseSpec) =>
  api.put(path, {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { namespace: 'system', name: 'operator', labels: { of: 'somebody' } },
    spec: lease,
  });
const isWrite = (method: string) => method !== 'GET';

describe('a campaign', () => {
  test('makes the Lease, leads, and renews it by one request each time', async () => {
    const { campaign, told } = candidate('a');
    expect(campaign.leads()).toBe(false);
    await until(() => campaign.leads());
    const first = spec();
    expect(first).toMatchObject({ holderIdentity: 'a', leaseDurationSeconds: 2, leaseTransitions: 0 });
    expect(first.acquireTime).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
    await until(() => api.calls('PUT').length >= 3);
    expect(spec()).toMatchObject({ acquireTime: first.acquireTime, leaseTransitions: 0 });
    expect(spec().renewTime).not.toBe(first.renewTime);
    expect(api.calls('GET')).toHaveLength(1);
    expect(told).toEqual(['leading']);
  });

  test('stands by while another leads, writes nothing, and takes over what is freed', async () => {
    const first = candidate('a');
    await until(() => first.campaign.leads());
    const second = candidate('b');
    await until(() => api.calls('GET').length > 5);
    expect(second.campaign.leads()).toBe(false);
    expect(second.campaign.hasLooked()).toBe(true);
    expect(second.messages()).toEqual(['standing by']);
    expect(spec().holderIdentity).toBe('a');

    await first.campaign.end();
    expect(first.campaign.leads()).toBe(false);
    expect(first.messages()).toEqual(['leading', 'the Lease is free']);
    const begun = performance.now();
    await until(() => second.campaign.leads());
    expect(performance.now() - begun).toBeLessThan(timing.leaseMs / 2);
    expect(spec()).toMatchObject({ holderIdentity: 'b', leaseDurationSeconds: 2, leaseTransitions: 1 });
    expect(first.told).toEqual(['leading']);
  });

  test('waits for a holder that is silent, and keeps what is not about who leads', async () => {
    put({ holderIdentity: 'dead', leaseDurationSeconds: 1, leaseTransitions: 7 });
    const begun = performance.now();
    const { campaign } = candidate('a');
    await until(() => campaign.leads());
    expect(performance.now() - begun).toBeGreaterThanOrEqual(1_000);
    expect(api.objects.get(path)).toMatchObject({
      metadata: { labels: { of: 'somebody' } },
      spec: { holderIdentity: 'a', leaseTransitions: 8 },
    });
  });

  test('is lost at the deadline when requests hang, and writes nothing later', async () => {
    const { campaign, told } = candidate('a');
    await until(() => campaign.leads());
    const renewed = performance.now();
    api.intercept = () => 'hang';
    await until(() => told.length === 2);
    const took = performance.now() - renewed;
    expect(took).toBeGreaterThan(timing.renewDeadlineMs / 2);
    // Before another may take over.
    expect(took).toBeLessThan(timing.leaseMs);
    expect(told[1]).toBe('the Lease could not be renewed for 1 s');
    expect(campaign.leads()).toBe(false);
    const sent = api.seen.length;
    await campaign.end();
    expect(api.seen).toHaveLength(sent);
  });

  test('outlives failures that end before the deadline, and tells of them once', async () => {
    const { campaign, told, messages } = candidate('a');
    await until(() => campaign.leads());
    let failures = 0;
    api.intercept = () => {
      failures += 1;
      return failures <= 4 ? failure(503, 'Unavailable') : undefined;
    };
    await until(() => failures > 6);
    expect(campaign.leads()).toBe(true);
    expect(told).toEqual(['leading']);
    expect(messages()).toEqual(['leading', 'the Lease was not read or written; trying again']);
  });

  test('goes on after a renewal that was done and whose answer was lost', async () => {
    const { campaign, told } = candidate('a');
    await until(() => campaign.leads());
    let lost = false;
    api.intercept = ({ method, body }) => {
      if (lost || method !== 'PUT') return undefined;
      lost = true;
      api.put(path, JSON.parse(body));
      return 'cut';
    };
    await until(() => lost);
    const renewals = api.calls('PUT').length;
    await until(() => api.calls('PUT').length > renewals + 1);
    expect(campaign.leads()).toBe(true);
    expect(told).toEqual(['leading']);
  });

  test('is lost as soon as another is in the Lease, without a word of its own into it', async () => {
    const { campaign, told } = candidate('a');
    await until(() => campaign.leads());
    put({ holderIdentity: 'b', leaseDurationSeconds: 2 });
    await until(() => told.length === 2);
    expect(told[1]).toBe('b holds the Lease now');
    await campaign.end();
    expect(spec()).toEqual({ holderIdentity: 'b', leaseDurationSeconds: 2 });
  });

  test('does not lead where it may not, and says so', async () => {
    api.intercept = ({ method }) => (isWrite(method) ? failure(403, 'Forbidden') : undefined);
    const { campaign, told, messages } = candidate('a');
    await until(() => api.calls('POST').length > 2);
    await campaign.end();
    expect(told).toEqual([]);
    expect(messages()).toEqual(['the Lease was not read or written; trying again']);
    api.intercept = () => failure(403, 'Forbidden');
    const blind = candidate('b').campaign;
    await until(() => api.calls('GET').length > 5);
    expect(blind.hasLooked()).toBe(false);
  });

  test('that is ended while it takes the Lease frees it, and never led', async () => {
    const { campaign, told } = candidate('a');
    const end = campaign.end();
    await end;
    expect(told).toEqual([]);
    expect(spec()?.holderIdentity ?? '').toBe('');
  });

  test('ends though the Lease cannot be freed', async () => {
    const { campaign, messages } = candidate('a');
    await until(() => campaign.leads());
    api.intercept = () => 'hang';
    await campaign.end();
    expect(campaign.leads()).toBe(false);
    expect(messages().at(-1)).toBe('the Lease was not freed; it runs out by itself');
  });
});
