import { randomUUID } from 'node:crypto';

/** What the runtime says when it refuses: a code of the MACP error registry and its message. */
export type Refusal = { code: string; message: string };

/** One call of the runtime, by its HTTP/JSON binding. */
export type Call = {
  /** Base URL, as {@link import('./runtime.ts').Runtime.address}. */
  address: string;
  token: string;
  /** Method of `macp.v1.MACPRuntimeService`. */
  method: string;
  body: unknown;
};

/** Calls the runtime and returns its answer, or its refusal. What is neither is thrown. */
export async function call({ address, token, method, body }: Call): Promise<{ ok: unknown } | Refusal> {
  const response = await fetch(`${address}/macp/v1/${method}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(15_000),
  });
  const text = await response.text();
  const answer = text.startsWith('{') ? JSON.parse(text) : {};
  // `Send` answers 200 for an envelope that it refuses, and says so inside.
  const error = answer.error ?? (answer.ack?.ok === false ? answer.ack.error : undefined);
  if (error?.code) return { code: error.code, message: error.message };
  if (!response.ok) throw new Error(`${method} answered ${response.status} without a code: ${text}`);
  return { ok: answer };
}

/** A session that an agent wants to start. */
export type Session = {
  address: string;
  token: string;
  /** Who the agent says it is; the runtime compares it with `sub` of the token. */
  sender: string;
  mode?: string;
  sessionID?: string;
};

/** The mode of {@link startSession} when none is given. */
export const decisionMode = 'macp.mode.decision.v1';

/**
 * Starts a session as an agent does: `accepted`, or why not. It takes a whole session to learn what the runtime
 * thinks of a token, since its discovery calls (`Initialize`, `ListModes`, …) read no credential at all.
 */
export async function startSession({
  address,
  token,
  sender,
  mode = decisionMode,
  sessionID = randomUUID(),
}: Session): Promise<'accepted' | Refusal> {
  const answer = await call({
    address,
    token,
    method: 'Send',
    body: {
      envelope: {
        macp_version: '1.0',
        mode,
        message_type: 'SessionStart',
        message_id: randomUUID(),
        session_id: sessionID,
        sender,
        timestamp_unix_ms: Date.now(),
        payload: {
          intent: 'verify a token',
          participants: [sender, 'agent://other'],
          mode_version: '1.0.0',
          configuration_version: 'config.default',
          ttl_ms: 60_000,
        },
      },
    },
  });
  if ('code' in answer) return answer;
  // Nothing but an explicit yes counts: an answer in an unknown shape must not pass for one.
  const { ack } = answer.ok as { ack?: { ok?: boolean } };
  if (ack?.ok !== true)
    throw new Error(`the runtime answered without a verdict: ${JSON.stringify(answer.ok)}`);
  return 'accepted';
}
