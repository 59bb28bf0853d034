import http from 'node:http';
import https from 'node:https';
import type { IssuerKey } from '../api/names.ts';
import { within } from '../cluster/deadline.ts';
import type { ExternalAnswer } from '../plan/servers.ts';
import { explain, limitedText, readKeys, timeoutMs } from './probe.ts';

/** Asks an external URL for the JWKS. It never rejects. */
export type AskExternal = (url: string) => Promise<ExternalAnswer>;

/** How old an answer may be before the URL is asked again. */
const freshMs = 10_000;

// What Node.js says of a certificate that it does not take.
const distrust = /CERT|SELF_SIGNED|ISSUER|LEAF/;

/**
 * Asks with a limit of time and size, and follows no redirect. The certificate of an https URL must be one that Node.js
 * trusts (NODE_EXTRA_CA_CERTS adds to those): what anybody on the way says must not decide about a rotation.
 */
export const askExternal: AskExternal = async (text) => {
  try {
    const url = new URL(text);
    const { get } = url.protocol === 'https:' ? https : http;
    const body = await within(timeoutMs, async (signal) => {
      const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
        const headers = { accept: 'application/json', 'user-agent': 'macp-auth-operator' };
        get(url, { signal, agent: false, headers }, resolve).on('error', reject);
      });
      const { statusCode = 0 } = response;
      if (statusCode === 200) return limitedText(response);
      response.destroy();
      const isRedirect = statusCode >= 300 && statusCode < 400;
      throw new Error(`it answered ${statusCode}${isRedirect ? ', and no redirect is followed' : ''}`);
    });
    return { keys: readKeys(body) };
  } catch (error) {
    const { code } = error as { code?: unknown };
    if (code === 'ERR_INVALID_URL') return { problem: 'it is no URL that can be asked' };
    if (typeof code === 'string' && distrust.test(code))
      return { problem: `the operator does not trust its certificate (${code})` };
    return { problem: explain(error) };
  }
};

/** What external URLs were seen to serve. */
export interface ExternalURLs {
  /**
   * What an issuer's URL served when it was asked last, at most some seconds before the look before this one. It is waited
   * for only where it was never asked: one that swallows packets must not hold up a revocation each time.
   */
  look(key: IssuerKey, url: string): Promise<ExternalAnswer>;
  /** Forgets an issuer without such a URL. */
  forget(key: IssuerKey): void;
}

interface Seen {
  url: string;
  askedAt: number;
  answer?: ExternalAnswer;
  asking?: Promise<ExternalAnswer> | undefined;
}

/** Asks external URLs, one request for each issuer at a time. `changed` is told when an answer is another than before. */
export function createExternalURLs(options: {
  ask: AskExternal;
  /** Milliseconds since the Unix epoch. */
  now: () => number;
  changed: (key: IssuerKey) => void;
}): ExternalURLs {
  const { ask, now, changed } = options;
  const all = new Map<string, Seen>();
  const idOf = ({ namespace, name }: IssuerKey) => `${namespace}/${name}`;

  async function askAgain(key: IssuerKey, seen: Seen): Promise<ExternalAnswer> {
    const { answer: before, url } = seen;
    const answer = await ask(url);
    seen.answer = answer;
    seen.asking = undefined;
    if (before && JSON.stringify(before) !== JSON.stringify(answer)) changed(key);
    return answer;
  }

  return {
    async look(key, url) {
      const before = all.get(idOf(key));
      const seen: Seen = before?.url === url ? before : { url, askedAt: Number.NEGATIVE_INFINITY };
      all.set(idOf(key), seen);
      if (!seen.asking && now() - seen.askedAt >= freshMs) {
        seen.askedAt = now();
        seen.asking = askAgain(key, seen);
      }
      return seen.answer ?? (seen.asking as Promise<ExternalAnswer>);
    },
    forget: (key) => void all.delete(idOf(key)),
  };
}
