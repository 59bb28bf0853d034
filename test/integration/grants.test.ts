import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { parse } from 'yaml';
import { resources } from '../../operator/cluster/resources.ts';
import { agentPod } from './agent-pod.ts';
import { type Bench, eventually, openBench } from './support.ts';

const name = 'granting';
const scopes = { can_start_sessions: true, allowed_modes: ['macp.mode.decision.v1'], max_open_sessions: 5 };
const full = {
  serviceAccounts: ['default', 'system.service-account'],
  sender: 'agent://{namespace}/{serviceAccount}',
  scopes,
  maxTTL: '10m',
  mintsPerMinute: 600,
};

describe('the grants of an issuer', () => {
  let bench: Bench;
  let mintURL: string;

  beforeAll(async () => {
    bench = await openBench('grants');
    bench.operator();
    await bench.apply(name, { agents: { grants: [full] } });
    await bench.ready(name);
    mintURL = await agentPod(bench, name);
  }, 120_000);
  afterAll(() => bench?.close(), 60_000);

  const mint = async (body: object) => {
    const response = await fetch(mintURL, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    return {
      status: response.status,
      ...((await response.json()) as { token?: string; error?: string }),
    };
  };
  const claims = async (body: object = {}) => decodeJwt((await mint(body)).token ?? '');
  const restarts = async () => {
    const { status } = await bench.client.get(resources.pods, bench.namespace, `agent-of-${name}`);
    const { initContainerStatuses } = status as { initContainerStatuses: { restartCount: number }[] };
    return initContainerStatuses.map(({ restartCount }) => restartCount);
  };

  test("bound what its pods mint, by the pod's own namespace and ServiceAccount", async () => {
    const { iat = 0, exp = 0, ...rest } = await claims({ ttl_seconds: 600 });
    expect(rest).toMatchObject({
      sub: `agent://${bench.namespace}/default`,
      macp_scopes: { ...scopes, can_manage_mode_registry: false, is_observer: false },
    });
    expect(exp - iat).toBe(600);
    expect(await mint({ ttl_seconds: 601 })).toMatchObject({
      status: 403,
      error: 'ttl_seconds is beyond the grant: it must be at most 600',
    });
    expect(await mint({ sender: 'agent://other' })).toMatchObject({ status: 403 });
  });

  test('reach a running sidecar without a restart when they change, and all is open again without them', async () => {
    await bench.apply(name, { agents: { grants: [{ sender: 'agent://renamed' }] } });
    await eventually('the new grant', async () => (await claims()).sub === 'agent://renamed');
    expect((await claims()).macp_scopes).toMatchObject({ can_start_sessions: false, allowed_modes: null });

    await bench.apply(name, { agents: { grants: [{ namespaces: ['elsewhere'] }] } });
    const refused = await eventually('the refusal', async () => {
      const answer = await mint({ sender: 'agent://renamed' });
      return answer.status === 403 && answer;
    });
    expect(refused.error).toBe(
      `no grant is for this workload: namespace "${bench.namespace}", ServiceAccount "default"`,
    );
    // Who may mint elsewhere is not told here.
    expect((await bench.agentFiles(name)).settings.grants).toEqual([]);

    await bench.apply(name);
    await eventually('no grants', async () => (await mint({ sender: 'agent://any' })).status === 200);
    expect((await claims({ sender: 'agent://any' })).macp_scopes).toEqual({});
    expect(await restarts()).toEqual([0]);
  }, 120_000);

  test('are taken by the API server as the document shows them', async () => {
    const text = await readFile(join(import.meta.dirname, '../../docs/grants.md'), 'utf8');
    const { spec } = parse(/```yaml\n(.*?)```/s.exec(text)?.[1] ?? '');
    expect(spec.agents.grants).toHaveLength(2);
    await bench.apply(name, spec);
    await bench.apply(name);
  });

  test('cost the API server no more than its rules may cost, however many and long they are', async () => {
    const word = (length: number, index: number) => `${index}`.padStart(length, 'a');
    const words = (length: number) => Array.from({ length: 32 }, (_, index) => word(length, index));
    const most = {
      sender: '{namespace}'.repeat(23),
      namespaces: words(63),
      maxTTL: '0000000000000000010s',
      scopes: { allowed_modes: words(24) },
    };
    await bench.apply(name, { agents: { grants: Array.from({ length: 64 }, () => most) } });
    await bench.apply(name);
  });
});
