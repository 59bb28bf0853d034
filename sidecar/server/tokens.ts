import { randomUUID } from 'node:crypto';
import type { RequestHandler, Response } from 'express';
import { signerAt } from '../contract/signer.ts';
import { type RefusalCode, refuse } from '../mint/refusals.ts';
import { readMintRequest } from '../mint/request.ts';
import { signToken, tokenClaims } from '../mint/token.ts';
import type { Context } from './context.ts';

/**
 * Answers `POST /tokens`: validate, choose the key, sign, answer. Each mint and each refusal is one line of the
 * log, which holds what the token says but never the token.
 */
export function tokensHandler(context: Context): RequestHandler {
  const { log, metrics } = context;

  function refuseAndTell(response: Response, reason: RefusalCode, sender: unknown): void {
    metrics.refused(reason);
    log.info({ event: 'refusal', reason, ...(typeof sender === 'string' && { sender }) }, 'refused');
    refuse(response, { refused: reason });
  }

  return async (request, response) => {
    const { mint } = context.material();
    if (mint === undefined) throw new Error('there is nothing to mint with');
    const started = performance.now();

    const asked = readMintRequest(request.body, mint);
    if ('refused' in asked) {
      refuseAndTell(response, asked.refused, request.body?.sender);
      return;
    }
    const now = context.now();
    const choice = signerAt(mint.keys, now);
    context.signerChosen(choice);
    if (choice.state === 'ended') {
      refuseAndTell(response, 'key_ended', asked.sender);
      return;
    }
    const claims = tokenClaims(asked, mint, now, randomUUID());
    const token = await signToken(claims, choice.key);

    const { sender, scopes, ttlSeconds } = asked;
    metrics.minted(choice.key.alg, (performance.now() - started) / 1000);
    log.info({ event: 'mint', sender, kid: choice.key.kid, jti: claims.jti, ttlSeconds, scopes }, 'minted');
    // A token is a secret of its caller (RFC 6749 section 5.1 asks the same of its tokens).
    response.set('Cache-Control', 'no-store');
    response.json({ token, sender, expires_in_seconds: ttlSeconds });
  };
}
