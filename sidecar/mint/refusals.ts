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
  body_too_large: { status: 413, message: 'request body is larger than 100 KiB' },
  unsupported_encoding: { status: 415, message: 'unsupported charset or content encoding' },
  internal_error: { status: 500, message: 'internal error' },
  key_ended: {
    status: 503,
    message: 'the signing key is past its signUntil and no newer one has arrived from the operator',
  },
} as const satisfies Record<string, { status: number; message: string }>;

/** The name of a refusal in metrics and logs. */
export type RefusalCode = keyof typeof refusals;

/** Answers a request with a refusal: its status and `{"error": message}`. */
export function refuse(response: Response, code: RefusalCode): void {
  const { status, message } = refusals[code];
  response.status(status).json({ error: message });
}
