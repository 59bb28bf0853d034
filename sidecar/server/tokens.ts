import { randomUUID } from 'node:crypto';
import type { RequestHandler, Response } from 'express';
import { signerAt } from '../contract/signer.ts';
import type { MintMaterial } from '../keys/material.ts';
import { boundsFor } from '../mint/grant.ts';
import { type Refusal, refuse } from '../mint/refusals.ts';
import { type MintRequest, readMintRequest } from '../mint/request.ts';
import { signToken, tokenClaims } from '../mint/token.ts';
import { answerJSON } from './answer.ts';
import type { Context } from './context.ts';
import { mintLimiter } from './limit.ts';

/** What validation hands on to the steps after it, in `response.locals`. */
interface Validated {
  /** The material that the request was validated with, which must be what it is answered from. */
  mint: MintMaterial;
  request: MintRequest;
  mintsPerMinute: number | undefined;
  /** When the request was there, as `performance.now()` tells it. */
  started: number;
}

/**
 * Answers `POST /tokens`, step by step: validate, count, sign and answer. Each mint and each refusal is one line of
 * the audit log. Only what is granted counts as a mint, so that a caller's mistakes do not cost the others.
 */
export function tokensHandlers(context: Context): RequestHandler[] {
  const { audit, metrics } = context;

  function refuseAndTell(response: Response, refusal: Refusal, sender: unknown): void {
    metrics.refused(refusal.refused);
    audit.refused(refusal, sender);
    refuse(response, refusal);
  }

  const validate: RequestHandler = (request, response, next) => {
    const { mint } = context.material();
    if (mint === undefined) throw new Error('there is nothing to mint with');
    const started = performance.now();
    const sender = request.body?.sender;
    const bounds = boundsFor(mint.grants, context.workload);
    if (bounds !== undefined && 'refused' in bounds) return refuseAndTell(response, bounds, sender);
    const asked = readMintRequest(request.body, mint, bounds);
    if ('refused' in asked) return refuseAndTell(response, asked, sender);
    const { mintsPerMinute } = bounds ?? {};
    Object.assign(response.locals, { mint, request: asked, mintsPerMinute, started } satisfies Validated);
    next();
  };

  const count = mintLimiter(
    (response) => validated(response).mintsPerMinute,
    (response, limit, retryAfterSeconds) => {
      response.set('Retry-After', String(retryAfterSeconds));
      const refusal: Refusal = { refused: 'rate_limited', detail: `the grant gives ${limit} a minute` };
      refuseAndTell(response, refusal, validated(response).request.sender);
    },
  );

  const sign: RequestHandler = async (_request, response) => {
    const { mint, request, started } = validated(response);
    const { sender, scopes, ttlSeconds } = request;
    const now = context.now();
    const choice = signerAt(mint.keys, now);
    context.signerChosen(choice);
    if (choice.state === 'ended') {
      refuseAndTell(response, { refused: 'key_ended' }, sender);
      return;
    }
    const claims = tokenClaims(request, mint, now, randomUUID());
    const token = await signToken(claims, choice.key);

    metrics.minted(choice.key.alg, (performance.now() - started) / 1000);
    audit.minted({ sender, kid: choice.key.kid, jti: claims.jti, ttlSeconds, scopes });
    // A token is a secret of its caller (RFC 6749 section 5.1 asks the same of its tokens).
    response.setHeader('Cache-Control', 'no-store');
    answerJSON(response, { token, sender, expires_in_seconds: ttlSeconds });
  };

  return [validate, count, sign];
}

const validated = (response: Response): Validated => response.locals as Validated;
