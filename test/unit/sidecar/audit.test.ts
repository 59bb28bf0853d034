import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { z } from 'zod';
import type { Grant } from '../../../sidecar/contract/grants.ts';
import { refusals } from '../../../sidecar/mint/refusals.ts';
import { keyFixture, mintFiles, Volume } from './support/fixtures.ts';
import { ask, decode, eventually, mint, Sidecar } from './support/sidecar.ts';

interface Branch {
  properties: Record<string, { const?: string; enum?: string[] }>;
  required: string[];
  additionalProperties?: boolean;
}

/** The schema that the document gives its readers. */
const documentText = readFileSync(new URL('../../../docs/audit-log.md', import.meta.url), 'utf8');
const documented: { oneOf: Branch[] } = JSON.parse(/```json\n(.*?)```/s.exec(documentText)?.[1] ?? '');

// Readers must bear members that they do not know; this test must not, or one could be added without a word.
const schema = z.fromJSONSchema({
  oneOf: documented.oneOf.map((branch) => ({ ...branch, additionalProperties: false })),
} as Parameters<typeof z.fromJSONSchema>[0]);

const events = documented.oneOf.map(({ properties }) => properties.event?.const);

/** Ends a sidecar and reads the whole of its audit log, each line of it held against the documented schema. */
async function auditOf(sidecar: Sidecar): Promise<Record<string, unknown>[]> {
  sidecar.child.kill('SIGTERM');
  await sidecar.ended;
  const lines = sidecar.log().filter(({ event }) => events.includes(event as string));
  for (const line of lines)
    expect({ line, ...schema.safeParse(line) }).toMatchObject({ line, success: true });
  return lines;
}

let volume: Volume;
beforeEach(() => {
  volume = new Volume();
});
afterEach(() => volume.remove());

const workload = { namespace: 'team-a', serviceAccount: 'planner' };
async function mounted(variables: Record<string, string> = {}) {
  const sidecar = new Sidecar({
    MACP_AUTH_FILES_DIR: volume.directory,
    MACP_AUTH_HEALTH_PORT: '0',
    MACP_AUTH_HEALTH_BIND_ADDRESS: '127.0.0.1',
    MACP_AUTH_POD_NAMESPACE: workload.namespace,
    MACP_AUTH_SERVICE_ACCOUNT: workload.serviceAccount,
    ...variables,
  });
  const [base = ''] = await sidecar.listening();
  return { sidecar, base };
}

const key = keyFixture('a');
const files = (grants: Grant[], revision = 1) => mintFiles([key], { grants, revision });

describe('the documented schema', () => {
  test('has every reason that there is; a failure is an event of its own', () => {
    const { reason } = documented.oneOf[1]?.properties ?? {};
    const failure = 'internal_error';
    expect([...(reason?.enum ?? []), failure].toSorted()).toEqual(Object.keys(refusals).toSorted());
  });

  test('has the members that the document explains', () => {
    const explained = [
      ...documentText.matchAll(/^\| `(\w+)`(?:, `(\w+)`)? +\| (?:all|`mint`|`refusal`|`failure`)/gm),
    ];
    const members = documented.oneOf.flatMap(({ properties }) => Object.keys(properties));
    expect(new Set(explained.flatMap(([, ...names]) => names.filter(Boolean)))).toEqual(new Set(members));
  });

  const good = {
    level: 'info',
    time: '2026-11-24T06:31:19.658Z',
    event: 'mint',
    sender: 'agent://a',
    kid: 'k',
    jti: '6ca851cb-0291-4fc9-9016-468999e413b3',
    ttlSeconds: 60,
    scopes: {},
    msg: 'minted',
  };
  test.each([
    ['a good line', good, true],
    ['no sender', { ...good, sender: undefined }, false],
    ['a long sender', { ...good, sender: 'x'.repeat(301) }, false],
    ['a member too many', { ...good, token: 'ey' }, false],
    ['a number as scopes', { ...good, scopes: 1 }, false],
    ['no lifetime', { ...good, ttlSeconds: 0 }, false],
    ['another event', { ...good, event: 'signed' }, false],
    [
      'an unknown reason',
      { level: 'info', time: good.time, event: 'refusal', reason: 'x', detail: 'x', msg: 'refused' },
      false,
    ],
  ])('tells good from bad: %s', (_, line, expected) => {
    expect(schema.safeParse(JSON.parse(JSON.stringify(line))).success).toBe(expected);
  });
});

test('every mint and every kind of refusal is a line as documented', async () => {
  const json = { 'content-type': 'application/json' };
  volume.swap(files([{ sender: 'agent://{serviceAccount}', mintsPerMinute: 1 }]));
  const { sidecar, base } = await mounted();
  const requests: [string, string | Buffer<ArrayBuffer>, Record<string, string>?][] = [
    ['invalid_json', '{'],
    ['invalid_sender', '{"sender":1}'],
    ['invalid_scopes', '{"scopes":1}'],
    ['invalid_ttl', '{"ttl_seconds":0}'],
    ['unreadable_body', '{}', { ...json, 'content-encoding': 'gzip' }],
    ['malformed_scopes', '{"scopes":{"is_observer":1}}'],
    ['sender_not_granted', '{"sender":"agent://other"}'],
    ['scopes_not_granted', '{"scopes":{"is_observer":true}}'],
    ['body_too_large', gzipSync(Buffer.alloc(200_000, 32)), { ...json, 'content-encoding': 'gzip' }],
    ['unsupported_encoding', '{}', { ...json, 'content-encoding': 'x' }],
    ['mint', '{"ttl_seconds":60}'],
    ['rate_limited', '{}'],
    ['failure', '{"ttl_seconds":1e-7}'],
  ];
  for (const [, body, headers = json] of requests) {
    await ask(`${base}/tokens`, { method: 'POST', body, headers });
    // The limit is spent by the mint: what comes after its refusal needs another.
    if (body === '{}' && headers === json) {
      volume.swap(files([{ sender: 'agent://{serviceAccount}' }], 2));
      await eventually(() => sidecar.logged('files_loaded')[1]);
    }
  }
  const { signUntil } = key;
  const loaded = async (count: number) => eventually(() => sidecar.logged('files_loaded')[count - 1]);
  volume.swap(files([{ maxTTLSeconds: 60, namespaces: ['team-a'] }], 3));
  await loaded(3);
  await mint(base, { sender: 'agent://a', ttl_seconds: 61 });
  volume.swap(files([], 4));
  await loaded(4);
  await mint(base, { sender: 'agent://a' });
  volume.swap(mintFiles([{ ...key, signUntil: Date.now() - 1, warnFrom: signUntil }], { revision: 5 }));
  await loaded(5);
  await mint(base, { sender: 'agent://a' });

  const anonymous = await mounted({ MACP_AUTH_POD_NAMESPACE: '' });
  volume.swap(files([], 6));
  await eventually(() => anonymous.sidecar.logged('files_loaded')[1]);
  await mint(anonymous.base, { sender: 'agent://a' });

  const lines = [...(await auditOf(sidecar)), ...(await auditOf(anonymous.sidecar))];
  const kinds = lines.map(({ event, reason }) => reason ?? event);
  expect(kinds).toEqual([
    ...requests.map(([kind]) => kind),
    'ttl_not_granted',
    'no_grant',
    'key_ended',
    'no_identity',
  ]);
  expect(new Set(kinds)).toEqual(
    new Set([...Object.keys(refusals), 'mint', 'failure'].filter((kind) => kind !== 'internal_error')),
  );
  const all = lines.slice(0, -1);
  expect(all.every((line) => line.namespace === 'team-a' && line.serviceAccount === 'planner')).toBe(true);
  expect(lines.at(-1)).not.toHaveProperty('namespace');
  expect(lines.find(({ event }) => event === 'mint')).toMatchObject({
    sender: 'agent://planner',
    kid: 'a',
    ttlSeconds: 60,
    scopes: { can_start_sessions: false, allowed_modes: null, max_open_sessions: null },
  });
  expect(lines.find(({ reason }) => reason === 'sender_not_granted')).toMatchObject({
    sender: 'agent://other',
    detail: 'sender is beyond the grant: it must be "agent://planner" or left out',
  });
});

test('what callers send is bounded in it, whatever it is', async () => {
  volume.swap(mintFiles([key]));
  const { sidecar, base } = await mounted();
  const long = '\u0001'.repeat(6_000);
  const scopes = (bytes: number) => ({ x: '€'.repeat((bytes - '{"x":""}'.length) / 3) });
  await mint(base, { sender: long, scopes: { x: long.slice(3_000), [long.slice(5_000)]: 1 } });
  await mint(base, { sender: `${'x'.repeat(255)}😀`, scopes: scopes(7_998) });
  await mint(base, { sender: 'a', scopes: scopes(8_003) });
  await mint(base, { sender: long, scopes: 1 });

  volume.swap(files([{}], 2));
  await eventually(() => sidecar.logged('files_loaded')[1]);
  const half = long.slice(3_000);
  await mint(base, { sender: half, scopes: { [half]: 1, [`${half}1`]: 1, allowed_modes: [half] } });

  const [first, second, third, ...rest] = await auditOf(sidecar);
  expect(first?.sender).toBe(`${'\u0001'.repeat(256)}… (6000 characters)`);
  expect(first?.scopes).toMatch(/^\{"x":"\\u0001.*… \(\d+ characters\)$/);
  expect(second?.sender).toBe(`${'x'.repeat(255)}\ufffd… (257 characters)`);
  expect(second?.scopes).toEqual(scopes(7_998));
  expect(third?.scopes).toMatch(/^\{"x":"€+… \(\d+ characters\)$/);
  expect(rest.map(({ reason }) => reason)).toEqual(['invalid_scopes', 'scopes_not_granted']);
  for (const line of sidecar.stdout.split('\n')) expect(Buffer.byteLength(line)).toBeLessThan(16 * 1024);
});

test('a line is written before its token is handed out, however slowly the log is read', async () => {
  volume.swap(mintFiles([key]));
  const { sidecar, base } = await mounted();
  sidecar.child.stdout?.pause();
  const answered: unknown[] = [];
  // Far more than a pipe holds: from then on nothing may be answered.
  for (let count = 0; count < 400; count += 1) {
    const answer = mint(base, { sender: 'agent://a', scopes: { x: 'x'.repeat(7_000) } }).catch(
      () => undefined,
    );
    const stalled = new Promise<undefined>((resolve) => setTimeout(resolve, 1_000, undefined));
    const { text } = (await Promise.race([answer, stalled])) ?? {};
    if (text === undefined) break;
    answered.push(decode(JSON.parse(text).token).claims.jti);
  }
  // Not even a last word: whoever is killed writes nothing more.
  sidecar.child.kill('SIGKILL');
  sidecar.child.stdout?.resume();
  await sidecar.ended;
  expect(answered.length).toBeGreaterThan(0);
  const written = new Set(sidecar.logged('mint').map(({ jti }) => jti));
  expect(answered.filter((jti) => !written.has(jti))).toEqual([]);
});

test('nothing is minted when the log cannot be written', async () => {
  volume.swap(mintFiles([key]));
  const { sidecar, base } = await mounted();
  sidecar.child.stdout?.destroy();
  await expect(mint(base, { sender: 'agent://a' })).rejects.toThrow('fetch failed');
  expect(await sidecar.ended).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^macp-auth: the log can't be written to standard output \(EPIPE\).*\n$/),
  });
});

test('no reader of lines or screen takes what a caller sends for more than text, and none of it is lost', async () => {
  volume.swap(mintFiles([key]));
  const { sidecar, base } = await mounted();
  const strange = 'a\n\r\u0000\u001b[31m\u007f\u0085\u009b\u2028\u2029\u202e\u2066\u{e0041}\ud800';
  await mint(base, { sender: strange, scopes: { [strange]: strange } });
  await mint(base, { sender: strange, scopes: { x: '\u0085'.repeat(3_000) } });
  const [whole, long] = await auditOf(sidecar);
  expect(whole).toMatchObject({ sender: strange, scopes: { [strange]: strange } });
  expect(long?.scopes).toMatch(/ characters\)$/);
  expect(sidecar.stdout.replaceAll('\n', '')).toMatch(/^[\x20-\x7e…]*$/);
  for (const line of sidecar.stdout.split('\n')) expect(Buffer.byteLength(line)).toBeLessThan(16 * 1024);
});

test('a sidecar that runs alone writes the same lines', async () => {
  const sidecar = new Sidecar({ MACP_AUTH_SIGNING_ALG: 'ES256' });
  const [base = ''] = await sidecar.listening();
  await mint(base, { sender: 'agent://a', scopes: { any: ['thing'] } });
  await mint(base, {});
  const [minted, refused] = await auditOf(sidecar);
  expect(minted).toMatchObject({
    event: 'mint',
    sender: 'agent://a',
    kid: 'dev-key-1',
    scopes: { any: ['thing'] },
  });
  expect(refused).toMatchObject({ event: 'refusal', reason: 'invalid_sender', detail: 'sender is required' });
});
