import { type Log, plainJSON } from './log.ts';
import type { Workload } from './mint/grant.ts';
import { type Refusal, refusalText } from './mint/refusals.ts';

/** What a mint leaves in the audit log: all that the token says of its caller, never the token. */
interface MintRecord {
  sender: string;
  kid: string;
  jti: string;
  ttlSeconds: number;
  scopes: Readonly<Record<string, unknown>>;
}

/** The audit log: one line for each token, for each request that was refused, and for each that failed. */
export interface Audit {
  minted(record: MintRecord): void;
  /** @param sender as the request has it, whatever that is. */
  refused(refusal: Refusal, sender?: unknown): void;
  failed(error: unknown): void;
}

const longestText = 256;
// With it the whole line stays under the 16 KiB at which container runtimes split one.
const longestScopesBytes = 8_000;

/**
 * Makes the audit log out of lines of the program's log. docs/audit-log.md has their schema.
 *
 * @param workload is in each line, as far as it is known.
 */
export function createAudit(log: Log, workload: Workload): Audit {
  const audit = log.child({ ...workload });
  return {
    minted: ({ sender, scopes, ...rest }) =>
      audit.info({ event: 'mint', sender: cut(sender), ...rest, scopes: bounded(scopes) }, 'minted'),
    refused: (refusal, sender) =>
      audit.info(
        {
          event: 'refusal',
          reason: refusal.refused,
          ...(typeof sender === 'string' && { sender: cut(sender) }),
          detail: cut(refusalText(refusal)),
        },
        'refused',
      ),
    failed(error) {
      const { name, message } = error instanceof Error ? error : { name: typeof error, message: '' };
      // Not the error itself: body-parser puts the body on it.
      audit.error({ event: 'failure', name: cut(name), message: cut(message) }, 'a request failed');
    },
  };
}

/** A text, or its beginning and its length. */
function cut(text: string): string {
  if (text.length <= longestText) return text;
  return `${text.slice(0, longestText).toWellFormed()}… (${text.length} characters)`;
}

/** Scopes as they are, or the beginning of their JSON where they are long. */
function bounded(scopes: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> | string {
  const text = JSON.stringify(scopes);
  // No character of JSON takes more than six bytes there: an escape.
  if (text.length * 6 <= longestScopesBytes) return scopes;
  return Buffer.byteLength(plainJSON(text)) <= longestScopesBytes ? scopes : cut(text);
}
