import type { MacpAuthIssuerStatus } from '../api/v1alpha1.ts';

/** A condition as status holds it (Kubernetes API conventions, "typical status properties"). */
export type Condition = NonNullable<MacpAuthIssuerStatus['conditions']>[number];

/**
 * The reasons of each condition, and what each means. `ok`: the condition is True. `wait`: it is False and passes by
 * itself. `info`: the same, but the issuer is Ready all the same. `problem`: it is False until a person acts, which a
 * Warning Event says. `warning`: the same, but the issuer works on and is Ready.
 *
 * `Ready` sums the others up and carries the reason of the first that keeps it from being so.
 */
export const reasons = {
  /** The operator can see what it needs to. */
  CachesSynced: { CachesSynced: 'ok', CannotFollow: 'problem' },
  /** The spec can be acted on. */
  Accepted: {
    Accepted: 'ok',
    NameTooLong: 'problem',
    NamespaceSelectorNotAllowed: 'problem',
    NamespaceNotWatched: 'problem',
    UnknownRevokedKey: 'warning',
    FinalizerFailed: 'problem',
    DeletionBlocked: 'problem',
  },
  /** The keyring is there, current and whole. */
  KeyringReady: {
    KeyringComplete: 'ok',
    KeyringLost: 'problem',
    KeyringStale: 'problem',
    KeyringUnreadable: 'problem',
    ImportFailed: 'problem',
    ImportMismatch: 'problem',
    KeyringNameConflict: 'problem',
    KeyringAccessFailed: 'problem',
    WaitingForGarbageCollection: 'wait',
  },
  /** The JWKS server's objects are applied and a pod of it is ready. */
  ServerAvailable: {
    ServerAvailable: 'ok',
    RolloutStuck: 'warning',
    ServerStarting: 'wait',
    ServerFailing: 'problem',
    ServerNameConflict: 'problem',
    ServerApplyFailed: 'problem',
  },
  /** Every ready server pod serves the keys of the keyring. */
  Published: {
    AllServersCurrent: 'ok',
    NoServerReady: 'wait',
    ServersUpdating: 'info',
    ServersBehind: 'wait',
    ServersUnreachable: 'problem',
    UnknownKeyServed: 'problem',
    RevokedKeyServed: 'problem',
    KeyringNotReady: 'wait',
  },
  /**
   * The set at `server.externalURL` has the keys of the keyring. There only where the field is set, and probing is not off.
   * What is before the servers is not ours: of what is wrong there, only keys that verifiers must not trust make the
   * issuer unready.
   */
  PublishedExternally: {
    ExternalSetCurrent: 'ok',
    ExternalSetUpdating: 'info',
    ExternalSetBehind: 'warning',
    ExternalURLUnreachable: 'warning',
    UnknownKeyServed: 'problem',
    RevokedKeyServed: 'problem',
    KeyringNotReady: 'info',
  },
  /**
   * Every ready server pod serves the certificate of `server.tls`. There only where the field is set. The JWKS is served
   * by http whatever becomes of it, so that the issuer is Ready all the same.
   */
  TLSReady: {
    CertificateServed: 'ok',
    WaitingForServers: 'info',
    SecretMissing: 'warning',
    SecretAccessFailed: 'warning',
    SecretNotTLS: 'warning',
    BadCertificate: 'warning',
    BadKey: 'warning',
    KeyMismatch: 'warning',
    CertificateExpired: 'warning',
    CertificateNotYetValid: 'warning',
    NamesNotCovered: 'warning',
  },
  /** A rotation that is due happens. One that only waits for verifiers makes no issuer unready. */
  RotationOnTime: {
    NotDue: 'ok',
    ImportUnderWay: 'ok',
    SwitchCommitted: 'ok',
    WaitingForVerifiers: 'info',
    WaitingForSidecars: 'info',
    WaitingForServers: 'info',
    WaitingForExternalURL: 'info',
    UnknownKeyServed: 'problem',
    ClocksDiffer: 'problem',
    TooManyKeys: 'problem',
    KeyringNotReady: 'info',
  },
  /**
   * The JWKS ConfigMap and the agent Secrets hold the keys of the keyring. What goes wrong in a namespace other than the
   * issuer's own is in the hands of those there, and makes the issuer not unready for all others.
   */
  Distributed: {
    AllNamespacesCurrent: 'ok',
    NameConflict: 'problem',
    WriteFailed: 'problem',
    NamespaceConflict: 'warning',
    NamespaceWriteFailed: 'warning',
    KeyringNotReady: 'wait',
  },
  /** No namespace that is not selected knows a key that verifiers accept. */
  KeysConfined: {
    KeysConfined: 'ok',
    DeselectedNamespaceCanMint: 'info',
    KeyringNotReady: 'info',
  },
} as const;

/** A condition type other than `Ready`. */
export type ConditionType = keyof typeof reasons;

/** Every condition type. */
export const conditionTypes: readonly string[] = ['Ready', ...Object.keys(reasons)];

/** Reason and message of one condition; what the reason means is in {@link reasons}. */
export type Judgement<Type extends ConditionType = ConditionType> = {
  [T in Type]: { type: T; reason: keyof (typeof reasons)[T] & string; message: string };
}[Type];

/** What a reason means. */
export type Severity = 'ok' | 'info' | 'warning' | 'wait' | 'problem';

/** The meaning of a judgement's reason. */
export const severityOf = ({ type, reason }: Judgement): Severity =>
  (reasons[type] as Record<string, Severity>)[reason] as Severity;

/**
 * The conditions for status: one for each judgement, and `Ready` first. `lastTransitionTime` changes with `status`
 * only. `now` in milliseconds since the Unix epoch.
 */
export function conditionsOf(
  judgements: readonly Judgement[],
  previous: readonly Condition[],
  generation: number,
  now: number,
): Condition[] {
  const failed = judgements.find((judgement) => severityOf(judgement) === 'problem');
  const first = failed ?? judgements.find((judgement) => severityOf(judgement) === 'wait');
  const ready = first
    ? { type: 'Ready', ok: false, reason: first.reason, message: first.message }
    : { type: 'Ready', ok: true, reason: 'Ready', message: 'keys are published and distributed' };
  const others = judgements.map((judgement) => ({ ...judgement, ok: severityOf(judgement) === 'ok' }));
  return [ready, ...others].map(({ type, ok, reason, message }) => {
    const status = ok ? 'True' : 'False';
    const before = previous.find((condition) => condition.type === type);
    const lastTransitionTime =
      before?.status === status
        ? before.lastTransitionTime
        : new Date(now).toISOString().replace(/\.\d+Z$/, 'Z');
    return { type, status, reason, message, observedGeneration: generation, lastTransitionTime };
  });
}
