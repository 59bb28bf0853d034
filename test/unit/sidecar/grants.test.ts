import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { MintSettings } from '../../../sidecar/contract/files.ts';
import type { Grant } from '../../../sidecar/contract/grants.ts';
import { keyFixture, mintFiles, Volume } from './support/fixtures.ts';
import { ask, decode, eventually, mint, Sidecar, sample } from './support/sidecar.ts';

/** Grants in the files of a real process, by what it answers. */
let volume: Volume;
beforeEach(() => {
  volume = new Volume();
});
afterEach(() => volume.remove());

const key = keyFixture('a');
const files = (grants: unknown, more: Partial<MintSettings> = {}) =>
  mintFiles([key], { ...more, grants: grants as Grant[] });

const planner = { MACP_AUTH_POD_NAMESPACE: 'team-a', MACP_AUTH_SERVICE_ACCOUNT: 'planner' };
const pinned = { sender: 'agent://{namespace}/{serviceAccount}' };

async function start(workload: Record<string, string> = planner) {
  const sidecar = new Sidecar({
    MACP_AUTH_FILES_DIR: volume.directory,
    MACP_AUTH_HEALTH_PORT: '0',
    MACP_AUTH_HEALTH_BIND_ADDRESS: '127.0.0.1',
    ...workload,
  });
  const [base = '', health = ''] = await sidecar.listening(2);
  return {
    sidecar,
    base,
    post: async (body: unknown) => {
      const { status, text, headers } = await mint(base, body);
      return { status, headers, ...JSON.parse(text) };
    },
    /** Mints, which must succeed, and decodes the claims. */
    claims: async (body: unknown = {}) => {
      const { status, text } = await mint(base, body);
      expect({ status, text }).toMatchObject({ status: 200 });
      return decode(JSON.parse(text).token).claims;
    },
    refusals: async (reason: string) =>
      sample((await ask(`${health}/metrics`)).text, `macp_auth_requests_refused_total{reason="${reason}"}`),
  };
}

test('a token under a grant has its sender, all five scopes and its lifetime; beyond it is 403', async () => {
  volume.swap(files([{ ...pinned, scopes: { allowed_modes: ['m'] }, maxTTLSeconds: 60 }]));
  const { post, claims, refusals, sidecar } = await start();

  const { iat, exp, sub, macp_scopes } = await claims();
  expect({ sub, lifetime: exp - iat, macp_scopes }).toEqual({
    sub: 'agent://team-a/planner',
    lifetime: 60,
    macp_scopes: {
      can_start_sessions: false,
      can_manage_mode_registry: false,
      is_observer: false,
      allowed_modes: ['m'],
      max_open_sessions: null,
    },
  });
  expect(await post({ ttl_seconds: 30 })).toMatchObject({
    status: 200,
    sender: 'agent://team-a/planner',
    expires_in_seconds: 30,
  });

  for (const [body, status, error, reason] of [
    [{ sender: 'agent://other' }, 403, /^sender is beyond the grant/, 'sender_not_granted'],
    [{ scopes: { can_start_sessions: true } }, 403, /can_start_sessions must be false/, 'scopes_not_granted'],
    [{ scopes: { is_observer: 'no' } }, 400, /^scopes are malformed: is_observer/, 'malformed_scopes'],
    [{ ttl_seconds: 61 }, 403, /^ttl_seconds is beyond the grant/, 'ttl_not_granted'],
  ] as const) {
    expect(await post(body)).toMatchObject({ status, error: expect.stringMatching(error) });
    expect(await refusals(reason)).toBe(1);
  }
  expect(sidecar.logged('no_grant')).toEqual([]);
});

test('a body that was not looked at gets nothing, since it may have asked for less', async () => {
  volume.swap(files([pinned]));
  const { base } = await start();
  const { status, text } = await ask(`${base}/tokens`, { method: 'POST', body: '{"ttl_seconds":1}' });
  expect({ status, text }).toEqual({ status: 400, text: '{"error":"sender is required"}' });
  expect((await ask(`${base}/tokens`, { method: 'POST' })).status).toBe(400);
});

describe('every mint is refused, and said so at once,', () => {
  test.each<[string, Record<string, string>, unknown, string, RegExp]>([
    [
      'when no grant is for the workload',
      planner,
      [{ namespaces: ['team-b'] }],
      'no_grant',
      /^no grant is for this workload: namespace "team-a", ServiceAccount "planner"$/,
    ],
    ['when the list is empty', planner, [], 'no_grant', /^no grant is for this workload/],
    [
      'when the namespace is not known',
      { MACP_AUTH_SERVICE_ACCOUNT: 'planner' },
      [{}],
      'no_identity',
      /MACP_AUTH_POD_NAMESPACE must be set from the downward API$/,
    ],
    [
      'when the ServiceAccount is not known',
      { ...planner, MACP_AUTH_SERVICE_ACCOUNT: '' },
      [{}],
      'no_identity',
      /MACP_AUTH_SERVICE_ACCOUNT must be set from the downward API$/,
    ],
  ])('%s', async (_, workload, grants, reason, error) => {
    volume.swap(files(grants));
    const { post, refusals, sidecar } = await start(workload);
    expect(sidecar.logged('no_grant')).toMatchObject([
      { level: 'warn', problem: expect.stringMatching(error) },
    ]);
    for (const body of [{ sender: 'agent://a' }, {}, { sender: 7 }]) {
      expect(await post(body)).toMatchObject({ status: 403, error: expect.stringMatching(error) });
    }
    expect(await refusals(reason)).toBe(3);
  });
});

test('without grants a workload mints what it asks for, known or not', async () => {
  volume.swap(mintFiles([key]));
  const scopes = { can_start_sessions: true, more: [1] };
  for (const workload of [planner, {}]) {
    const { claims } = await start(workload);
    expect(await claims({ sender: 'any', scopes, ttl_seconds: 9999 })).toMatchObject({
      sub: 'any',
      macp_scopes: scopes,
    });
    expect((await claims({ sender: 'any' })).macp_scopes).toEqual({});
  }
});

test('grants that come, change, break and go are followed without a restart', async () => {
  volume.swap(mintFiles([key]));
  const { sidecar, post, claims } = await start();
  const loaded = async (count: number) =>
    eventually(() => (sidecar.logged('files_loaded').length >= count ? true : undefined));
  expect((await claims({ sender: 'any' })).sub).toBe('any');

  volume.swap(files([{ ...pinned, scopes: { can_start_sessions: true } }]));
  await loaded(2);
  expect((await post({ sender: 'any' })).status).toBe(403);
  expect((await claims()).macp_scopes.can_start_sessions).toBe(true);

  volume.swap(files([{ sender: 'agent://renamed' }]));
  await loaded(3);
  expect(await claims()).toMatchObject({
    sub: 'agent://renamed',
    macp_scopes: { can_start_sessions: false },
  });

  volume.swap(files([{ sender: '{pod}' }]));
  const { problem } = await eventually(() => sidecar.logged('files_broken')[0]);
  expect(problem).toMatch(/^settings\.json: grants\[0\]\.sender: can have the placeholders \{namespace\}/);
  expect((await claims()).sub).toBe('agent://renamed');

  volume.swap(mintFiles([key]));
  await loaded(4);
  expect((await claims({ sender: 'any' })).sub).toBe('any');
});

describe('mintsPerMinute', () => {
  test('one mint too many is 429 with Retry-After; what was refused does not count', async () => {
    volume.swap(files([{ ...pinned, mintsPerMinute: 3 }]));
    const { post, claims, refusals, sidecar } = await start();
    for (const body of [{ sender: 'agent://other' }, { scopes: { is_observer: true } }, '{'])
      await post(body);
    for (let count = 0; count < 3; count += 1) await claims();

    for (const attempt of [1, 2]) {
      const { status, error, headers } = await post({});
      expect({ status, error }).toEqual({ status: 429, error: 'too many mints: the grant gives 3 a minute' });
      const seconds = Number(headers.get('retry-after'));
      expect(Number.isInteger(seconds) && seconds >= 1 && seconds <= 60).toBe(true);
      expect(await refusals('rate_limited')).toBe(attempt);
    }
    // What is refused for itself is still told so.
    expect((await post({ sender: 'agent://other' })).status).toBe(403);

    volume.swap(files([{ ...pinned, mintsPerMinute: 4 }]));
    await eventually(async () => ((await post({})).status === 200 ? true : undefined));
    expect((await post({})).status).toBe(429);
    volume.swap(files([pinned]));
    await eventually(async () => ((await post({})).status === 200 ? true : undefined));
    for (let count = 0; count < 10; count += 1) await claims();
    sidecar.child.kill('SIGTERM');
    expect(await sidecar.ended).toMatchObject({ code: 0, stderr: '' });
  });

  test('what is granted is answered as without a limit', async () => {
    volume.swap(files([{ ...pinned, mintsPerMinute: 3 }]));
    const { post } = await start();
    const { headers } = await post({});
    expect([...headers.keys()].filter((name) => /rate|retry/i.test(name))).toEqual([]);
  });
});
