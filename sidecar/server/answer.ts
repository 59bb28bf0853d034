import type { Response } from 'express';

/**
 * Answers with JSON, as `response.json` does but for what a mint has no use for: its settings of the form, the search
 * for a charset, and a validator of an answer that no cache may keep.
 */
export function answerJSON(response: Response, value: unknown): void {
  const body = JSON.stringify(value);
  response.setHeader('Content-Type', 'application/json; charset=utf-8');
  response.setHeader('Content-Length', Buffer.byteLength(body));
  response.end(body);
}
