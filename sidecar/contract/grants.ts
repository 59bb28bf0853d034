import * as z from 'zod';

/** The placeholders of a sender template; the workload's own names take their place. */
export const senderPlaceholder = /\{(namespace|serviceAccount)\}/g;

// Printable ASCII without other braces, as the CRD has it, so that what the API server takes is never a broken file.
const senderTemplate = /^(?:[!-z|~]|\{namespace\}|\{serviceAccount\})+$/;

const grantedScopes = z.object({
  /** Absent: no. Verifiers take its absence from a token for yes, so that a token always says it. */
  can_start_sessions: z.boolean().optional(),
  /** Absent: no. */
  can_manage_mode_registry: z.boolean().optional(),
  /** Absent: no. An observer sees the sessions of others too, so `true` is the wider one. */
  is_observer: z.boolean().optional(),
  /** Absent: every mode. Empty: none. */
  allowed_modes: z.array(z.string()).optional(),
  /** Absent: any number. */
  max_open_sessions: z.number().int().nonnegative().optional(),
});

/** Schema of one entry of `grants` in `settings.json`: to whom it applies, and what it bounds. */
export const grant = z.object({
  /** ServiceAccounts that it is for. Absent: every one. */
  serviceAccounts: z.array(z.string().min(1)).optional(),
  /** Namespaces of pods that it is for. Absent: every one that has these files. */
  namespaces: z.array(z.string().min(1)).optional(),
  /** The one `sub` of its tokens, with {@link senderPlaceholder}s. Absent: the caller says any. */
  sender: z
    .string()
    .regex(
      senderTemplate,
      'can have the placeholders {namespace} and {serviceAccount} and ASCII characters, but no other {} and no blanks',
    )
    .optional(),
  /** The most that `macp_scopes` may say. Absent: as if it were empty. */
  scopes: grantedScopes.optional(),
  /** Absent: `maxTTLSeconds` of the settings is the only bound. */
  maxTTLSeconds: z.number().positive().optional(),
  /** For each sidecar on its own. Absent: no limit. */
  mintsPerMinute: z.number().int().positive().optional(),
});

/** One grant: to whom it applies, and what it bounds. */
export type Grant = z.infer<typeof grant>;
/** The scopes of a grant. */
export type GrantedScopes = z.infer<typeof grantedScopes>;
