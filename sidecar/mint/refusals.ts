import type { Response } from 'express';

/**
 * Every way in which a request is refused: the code names it in metrics and logs, status and message are the
 * answer. The first four are word for word those of the reference service.
 */
export const refusals = {
  invalid_json: { status: 400, message: 'invalid JSON body' },
  invalid_sender: { status: 400, message: 'sender is required' },
  invalid_scopes: { status: 400, message: 'scopes must be an object' },
  invalid_ttl: { status: 400, message: 'ttl_seconds must be a positive number' },
  unreadable_body: { status: 400, message: 'request body could not be read' },
  malformed_scopes: { status: 400, message: 'scopes are malformed' },
  no_identity: { status: 403, message: 'there are grants, but it is not known which workload this is' },
  no_grant: { status: 403, message: 'no grant is for this workload' },
  sender_not_granted: { status: 403, message: 'sender is beyond the grant' },
  scopes_not_granted: { status: 403, message: 'scopes are beyond the grant' },
  ttl_not_granted: { status: 403, message: 'ttl_seconds is beyond the grant' },
  body_too_large: { status: 413, message: 'request body is larger than 100 KiB' },
  unsupported_encoding: { status: 415, message: 'unsupported charset or content encoding' },
  rate_limited: { status: 429, message: 'too many mints' },
  internal_error: { status: 500, message: 'internal error' },
  key_ended: {
    status: 503,
    message: 'the signing key is past its signUntil and no newer one has arrived from the operator',
  },
} as const satisfies Record<string, { status: number; message: string }>;

/** The name of a refusal in metrics and logs. */
export type RefusalCode = keyof typeof refusals;

/** A request that is refused. */
export interface Refusal {
  refused: RefusalCode;
  /** What it was about: names of members and limits, and of the caller's own values only short ones. */
  detail?: string;
}

/** The text of a refusal: what happened and, where there is more to say, what it was about. */
export function refusalText({ refused, detail }: Refusal): string {
  const { message } = refusals[refused];
  return detail === undefined ? message : `${message}: ${detail}`;
}

/** Answers a request with a refusal: its status and `{"error": text}`. */
export function refuse(response: Response, refusal: Refusal): void {
  response.status(refusals[refusal.refused].status).json({ error: refusalText(refusal) });
}
