import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { decodeJwt } from 'jose';
import { fileNames, type MintSettings } from '../../sidecar/contract/files.ts';
import type { Grant } from '../../sidecar/contract/grants.ts';
import { call, decisionMode } from './client.ts';
import { type NamedKey, newKey, publicPart } from './forge.ts';
import { start } from './process.ts';
import { proveItJudges, type Runtime, startRuntime } from './runtime.ts';
import { mint } from './sidecar.ts';
import { buildTimeoutMs } from './toolchain/runtime.ts';

const issuer = 'verify-grants';
const audience = 'verify-audience';
const namespace = 'team-a';
const taskMode = 'macp.mode.task.v1';
const accepted = { outcome: 'accepted' };
const forbidden = { outcome: 'refused', code: 'FORBIDDEN' };

// Each agent is a ServiceAccount with a sidecar of its own; all have the same files, as in a cluster.
const grants: Grant[] = [
  { serviceAccounts: ['starter'], scopes: { can_start_sessions: true } },
  { serviceAccounts: ['few'], scopes: { can_start_sessions: true, max_open_sessions: 2 } },
  { serviceAccounts: ['decider'], scopes: { can_start_sessions: true, allowed_modes: [decisionMode] } },
  { serviceAccounts: ['modeless'], scopes: { can_start_sessions: true, allowed_modes: [] } },
  { serviceAccounts: ['observer'], scopes: { is_observer: true } },
  { serviceAccounts: ['keeper'], scopes: { can_manage_mode_registry: true } },
  {
    serviceAccounts: ['whole'],
    scopes: {
      can_start_sessions: true,
      can_manage_mode_registry: true,
      is_observer: true,
      allowed_modes: [decisionMode, taskMode],
      max_open_sessions: 5,
    },
  },
  { serviceAccounts: ['nothing'] },
].map((grant) => ({ ...grant, sender: 'agent://{namespace}/{serviceAccount}' }));

type Agent = { sender: string; address: string; stop(): Promise<void> };

describe('grants, as the runtime judges their tokens', () => {
  const directory = mkdtempSync(join(tmpdir(), 'macp-grants-'));
  const agents = new Map<string, Agent>();
  let runtime: Runtime;

  beforeAll(async () => {
    writeFiles(directory, await newKey('ES256', 'granting-key'));
    const names = grants.flatMap(({ serviceAccounts = [] }) => serviceAccounts);
    await Promise.all(names.map(async (name) => agents.set(name, await startAgent(directory, name))));
    runtime = await startRuntime({
      jwksURL: `${agent('whole').address}/.well-known/jwks.json`,
      issuer,
      audience,
    });
    await proveItJudges(runtime, await tokenOf('whole'));
  }, buildTimeoutMs);

  afterAll(async () => {
    await Promise.all([runtime, ...agents.values()].map((running) => running?.stop()));
    rmSync(directory, { recursive: true });
  });

  const agent = (name: string): Agent => {
    const found = agents.get(name);
    if (!found) throw new Error(`no agent ${name}`);
    return found;
  };
  const tokenOf = async (name: string, body: object = {}) => {
    const { sender, address } = agent(name);
    // The caller says no sender: the grant pins it.
    return { sender, token: await mint(address, body as { sender: string }) };
  };
  const judge = async (name: string, scopes: object = {}, mode = decisionMode) =>
    runtime.judge({ ...(await tokenOf(name, { scopes })), mode });

  it('the sender of every token is the one that the grant pins', async () => {
    const { token } = await tokenOf('starter');
    expect(decodeJwt(token).sub).toBe('agent://team-a/starter');
    expect(await runtime.judge({ token, sender: 'agent://team-a/whole' })).toMatchObject({
      outcome: 'refused',
      code: 'UNAUTHENTICATED',
    });
  });

  it.each<[string, string, object, string, object]>([
    ['starts a session where it may', 'starter', {}, decisionMode, accepted],
    ['starts one in every mode where none is named', 'starter', {}, taskMode, accepted],
    // Without a word about it in the grant and in the request: a token that left it out would be allowed.
    ['starts none where the grant does not say so', 'nothing', {}, decisionMode, forbidden],
    [
      'starts none where it asked for less',
      'starter',
      { can_start_sessions: false },
      decisionMode,
      forbidden,
    ],
    ['takes part in a mode that is granted', 'decider', {}, decisionMode, accepted],
    ['takes part in no other mode', 'decider', {}, taskMode, forbidden],
    ['takes part in no mode where the list is empty', 'modeless', {}, decisionMode, forbidden],
    ['takes part in those that it asked for', 'whole', { allowed_modes: [taskMode] }, taskMode, accepted],
    ['takes part in no more than those', 'whole', { allowed_modes: [taskMode] }, decisionMode, forbidden],
    ['is not refused for any value that we write out', 'whole', {}, decisionMode, accepted],
  ])('an agent %s', async (_, name, scopes, mode, expected) => {
    expect(await judge(name, scopes, mode)).toMatchObject(expected);
  });

  it('an agent has as many open sessions as the grant says, and no more', async () => {
    const tooMany = { outcome: 'refused', code: 'RATE_LIMITED' };
    expect(await judge('few', { max_open_sessions: 1 })).toEqual(accepted);
    expect(await judge('few', { max_open_sessions: 1 })).toMatchObject(tooMany);
    expect(await judge('few')).toEqual(accepted);
    expect(await judge('few')).toMatchObject(tooMany);
  });

  it('an agent sees the sessions of others, or registers modes, only with the grant for it', async () => {
    const sessionID = randomUUID();
    expect(await runtime.judge({ ...(await tokenOf('decider')), sessionID })).toEqual(accepted);
    const see = async (name: string, scopes: object = {}) =>
      call({
        address: runtime.address,
        token: (await tokenOf(name, { scopes })).token,
        method: 'GetSession',
        body: { session_id: sessionID },
      });
    expect(await see('observer')).toMatchObject({ ok: { metadata: { session_id: sessionID } } });
    expect(await see('observer', { is_observer: false })).toMatchObject({ code: 'FORBIDDEN' });
    expect(await see('nothing')).toMatchObject({ code: 'FORBIDDEN' });

    const register = async (name: string) =>
      call({
        address: runtime.address,
        token: (await tokenOf(name)).token,
        method: 'RegisterExtMode',
        body: {
          mode_descriptor: {
            mode: `ext.${name}.v1`,
            mode_version: '1.0.0',
            message_types: ['SessionStart', 'Commitment'],
            terminal_message_types: ['Commitment'],
          },
        },
      });
    expect(await register('keeper')).toMatchObject({ ok: { ok: true } });
    expect(await register('nothing')).toMatchObject({ code: 'FORBIDDEN' });
  });

  it.each<[string, string, object, RegExp]>([
    ['for another sender', 'starter', { sender: 'agent://team-a/whole' }, /403: sender is beyond the grant/],
    ['to start sessions', 'nothing', { scopes: { can_start_sessions: true } }, /403: .* can_start_sessions/],
    ['to observe', 'starter', { scopes: { is_observer: true } }, /403: .* is_observer/],
    [
      'another mode',
      'decider',
      { scopes: { allowed_modes: [decisionMode, taskMode] } },
      /403: .*macp\.mode\.task/,
    ],
    ['for more sessions', 'whole', { scopes: { max_open_sessions: 6 } }, /403: .* at most 5/],
  ])('a request %s gets no token', async (_, name, body, error) => {
    await expect(tokenOf(name, body)).rejects.toThrow(error);
  });
});

/** Writes the files of an agent Secret, as the operator does. */
function writeFiles(directory: string, key: NamedKey): void {
  const { kid, alg, ...privateKey } = key;
  const instant = (hours: number) => new Date(Date.now() + hours * 3_600_000).toISOString();
  const settings: MintSettings = {
    role: 'mint',
    revision: 1,
    jwksMaxAgeSeconds: 30,
    issuer,
    audience,
    defaultTTLSeconds: 300,
    maxTTLSeconds: 3600,
    grants,
  };
  const validity = { activateAt: instant(-1), signUntil: instant(99), warnFrom: instant(98) };
  const files = {
    [fileNames.keys]: { keys: [{ kid, alg, privateKey, ...validity }] },
    [fileNames.jwks]: { keys: [publicPart(key)] },
    [fileNames.settings]: settings,
  };
  for (const [name, content] of Object.entries(files)) {
    writeFileSync(join(directory, name), JSON.stringify(content));
  }
}

/** Starts the sidecar of a pod with that ServiceAccount. */
async function startAgent(directory: string, serviceAccount: string): Promise<Agent> {
  const { ready: address, stop } = await start({
    name: `sidecar of ${serviceAccount}`,
    argv: [process.execPath, join(import.meta.dirname, '../../sidecar/main.ts')],
    env: {
      PORT: '0',
      MACP_AUTH_BIND_ADDRESS: '127.0.0.1',
      MACP_AUTH_HEALTH_PORT: '0',
      MACP_AUTH_HEALTH_BIND_ADDRESS: '127.0.0.1',
      MACP_AUTH_FILES_DIR: directory,
      MACP_AUTH_POD_NAMESPACE: namespace,
      MACP_AUTH_SERVICE_ACCOUNT: serviceAccount,
    },
    ready: async (output) => {
      const port = /"event":"listening".*?"port":(\d+)/.exec(output)?.[1];
      return port && `http://127.0.0.1:${port}`;
    },
  });
  return { sender: `agent://${namespace}/${serviceAccount}`, address, stop };
}
