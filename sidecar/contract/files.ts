import * as z from 'zod';
import { grant } from './grants.ts';
import { privateJWK, publicJWKS } from './jwk.ts';

/**
 * The mounted files: the contract between the operator, which writes them into one Secret (for an agent
 * pod) or one ConfigMap (for the JWKS server), and this program, which reads them.
 *
 * The format only ever grows: a reader ignores members that it does not know, a writer never takes one away
 * or changes its meaning, so that a sidecar of an older release follows a newer operator.
 */
export const fileNames = {
  /** The private signing keys, {@link SigningKeysFile}. Only in an agent's Secret. */
  keys: 'keys.json',
  /** The public JWK Set (RFC 7517 section 5), served byte for byte. */
  jwks: 'jwks.json',
  /** Everything else, {@link MintSettings} or {@link PublishSettings}. */
  settings: 'settings.json',
} as const;

const instant = z.iso.datetime({ offset: true });

const signingKey = z.object({
  /** `kid` of the JOSE header (RFC 7515 section 4.1.4). */
  kid: z.string().min(1),
  alg: z.enum(['RS256', 'ES256']),
  privateKey: privateJWK,
  /** RFC 3339. The newest key whose `activateAt` has passed signs, else the earliest. */
  activateAt: instant,
  /** RFC 3339. Nothing is ever signed with the key at or after this instant. */
  signUntil: instant,
  /** RFC 3339. From here on the reader warns that `signUntil` comes near. */
  warnFrom: instant,
});

/** Schema of `keys.json`: at least one key, each `kid` once. */
export const signingKeysFile = z.object({
  keys: z
    .array(signingKey)
    .min(1)
    .refine(
      (keys) => new Set(keys.map((key) => key.kid)).size === keys.length,
      'each kid may occur once only',
    ),
});

const common = {
  /** Revision of the keyring that the files derive from; never goes back. */
  revision: z.number().int().positive(),
  /** `max-age` of the JWKS answer (RFC 9111 section 5.2.2.1), in seconds. */
  jwksMaxAgeSeconds: z.number().int().nonnegative(),
};

const mintSettings = z.object({
  role: z.literal('mint'),
  ...common,
  /** `iss` of every token (RFC 7519 section 4.1.1). */
  issuer: z.string().min(1),
  /** `aud` of every token (RFC 7519 section 4.1.3). */
  audience: z.string().min(1),
  defaultTTLSeconds: z.number().positive(),
  maxTTLSeconds: z.number().positive(),
  /**
   * What each workload may have: the first that matches applies. Absent: any sender and any scopes. An empty list
   * matches nobody, so that nothing is minted: a list that lost its entries must not open everything.
   */
  grants: z.array(grant).optional(),
});

const publishSettings = z.object({ role: z.literal('publish'), ...common });

/** Schema of `settings.json`; `role` says whether the program mints or only publishes. */
export const settingsFile = z.discriminatedUnion('role', [mintSettings, publishSettings]);

/** Schema of `jwks.json`: a JWK Set with at least one key and public members only. */
export const jwksFile = publicJWKS;

/** A private signing key with the instants that bound its use. */
export type SigningKey = z.infer<typeof signingKey>;
/** Contents of `keys.json`. */
export type SigningKeysFile = z.infer<typeof signingKeysFile>;
/** Contents of `settings.json` in an agent's pod. */
export type MintSettings = z.infer<typeof mintSettings>;
/** Contents of `settings.json` in a pod of the JWKS server. */
export type PublishSettings = z.infer<typeof publishSettings>;
