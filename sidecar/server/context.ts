import type { Audit } from '../audit.ts';
import type { SignerChoice } from '../contract/signer.ts';
import type { SigningKey } from '../keys/key.ts';
import type { Material } from '../keys/material.ts';
import type { Metrics } from '../metrics.ts';
import type { Workload } from '../mint/grant.ts';

/** What the request handlers are given. */
export interface Context {
  /** The material in use at this moment. */
  material(): Material;
  /** The time in milliseconds since the epoch. */
  now(): number;
  /** Told of each choice of a signer. */
  signerChosen(choice: SignerChoice<SigningKey>): void;
  /** For whom tokens are minted, as far as it is known. */
  workload: Workload;
  audit: Audit;
  metrics: Metrics;
}
