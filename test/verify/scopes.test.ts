import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { call, decisionMode } from './client.ts';
import { newKey } from './forge.ts';
import { proveItJudges, type Runtime, startRuntime } from './runtime.ts';
import { type Sidecar, startSidecar } from './sidecar.ts';
import { buildTimeoutMs } from './toolchain/runtime.ts';

const accepted = { outcome: 'accepted' };
const forbidden = { outcome: 'refused', code: 'FORBIDDEN' };
// The code says the rate, though it is the number.
const tooMany = { outcome: 'refused', code: 'RATE_LIMITED' };
const taskMode = 'macp.mode.task.v1';

describe('macp_scopes, as the runtime takes them', () => {
  let sidecar: Sidecar;
  let runtime: Runtime;
  let agents = 0;

  beforeAll(async () => {
    sidecar = await startSidecar({ signingKey: await newKey('ES256', 'verify-key') });
    runtime = await startRuntime({
      jwksURL: sidecar.jwksURL,
      issuer: 'macp-auth-service',
      audience: 'macp-runtime',
    });
    await proveItJudges(runtime, await agent());
  }, buildTimeoutMs);

  afterAll(() => Promise.all([runtime?.stop(), sidecar?.stop()]));

  /** A new agent, so that no open session of another test counts, and its token. */
  const agent = async (scopes?: Record<string, unknown>) => {
    const sender = `agent://agent-${++agents}`;
    return { sender, token: await sidecar.mint({ sender, ...(scopes && { scopes }) }) };
  };
  const registerMode = (token: string, mode: string) =>
    call({
      address: runtime.address,
      token,
      method: 'RegisterExtMode',
      body: {
        mode_descriptor: {
          mode,
          mode_version: '1.0.0',
          message_types: ['SessionStart', 'Commitment'],
          terminal_message_types: ['Commitment'],
        },
      },
    });

  it.each([
    ['absent', undefined, accepted],
    ['empty', {}, accepted],
    ['can_start_sessions: true', { can_start_sessions: true }, accepted],
    ['can_start_sessions: false', { can_start_sessions: false }, forbidden],
    ['allowed_modes with the mode', { allowed_modes: [decisionMode] }, accepted],
    ['allowed_modes with another mode', { allowed_modes: [taskMode] }, forbidden],
    // Unlike in the runtime's own list of static tokens, where an empty list means every mode.
    ['allowed_modes that is empty', { allowed_modes: [] }, forbidden],
    ['allowed_modes: null', { allowed_modes: null }, accepted],
    ['max_open_sessions: null', { max_open_sessions: null }, accepted],
    ['max_open_sessions: 0', { max_open_sessions: 0 }, tooMany],
    [
      'all five',
      {
        can_start_sessions: true,
        can_manage_mode_registry: false,
        is_observer: false,
        allowed_modes: [decisionMode],
        max_open_sessions: 5,
      },
      accepted,
    ],
  ])('%s', async (_what, scopes, expected) => {
    expect(await runtime.judge(await agent(scopes))).toMatchObject(expected);
  });

  it('max_open_sessions: 2', async () => {
    const twice = await agent({ max_open_sessions: 2 });
    expect(await runtime.judge(twice)).toMatchObject(accepted);
    expect(await runtime.judge(twice)).toMatchObject(accepted);
    expect(await runtime.judge(twice)).toMatchObject(tooMany);
  });

  // A token with such scopes is worth nothing, so a grant must never be able to make one.
  it.each([
    ['max_open_sessions', -1],
    ['max_open_sessions', 2.5],
    ['allowed_modes', decisionMode],
    ['can_start_sessions', 'yes'],
  ])('%s: %p makes the whole token invalid', async (name, value) => {
    expect(await runtime.judge(await agent({ [name]: value }))).toMatchObject({
      outcome: 'refused',
      code: 'UNAUTHENTICATED',
      reason: expect.stringMatching(/invalid (type|value)/),
    });
  });

  it('is_observer sees the sessions of others', async () => {
    const sessionID = randomUUID();
    expect(await runtime.judge({ ...(await agent()), sessionID })).toEqual(accepted);
    const look = async (scopes: Record<string, unknown>) =>
      call({
        address: runtime.address,
        token: (await agent(scopes)).token,
        method: 'GetSession',
        body: { session_id: sessionID },
      });
    expect(await look({ is_observer: true })).toMatchObject({ ok: { metadata: { session_id: sessionID } } });
    expect(await look({ is_observer: false })).toMatchObject({ code: 'FORBIDDEN' });
    expect(await look({})).toMatchObject({ code: 'FORBIDDEN' });
  });

  it('can_manage_mode_registry registers modes', async () => {
    const may = await agent({ can_manage_mode_registry: true });
    const mayNot = await agent({ can_manage_mode_registry: false });
    expect(await registerMode(may.token, 'ext.first.v1')).toMatchObject({ ok: { ok: true } });
    expect(await registerMode(mayNot.token, 'ext.second.v1')).toMatchObject({ code: 'FORBIDDEN' });
    expect(await registerMode((await agent()).token, 'ext.third.v1')).toMatchObject({ code: 'FORBIDDEN' });
  });
});
