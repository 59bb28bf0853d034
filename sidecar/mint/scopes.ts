import type { GrantedScopes } from '../contract/grants.ts';
import type { Refusal } from './refusals.ts';

/**
 * `macp_scopes` of a token under a grant. All members are always there: what a verifier makes of one that is left
 * out differs from member to member, and for `can_start_sessions` it is to allow.
 */
export type BoundScopes = {
  can_start_sessions: boolean;
  can_manage_mode_registry: boolean;
  is_observer: boolean;
  /** null: every mode. Empty: none. */
  allowed_modes: readonly string[] | null;
  /** null: any number. */
  max_open_sessions: number | null;
};

/** What became of one member: its value, or what is wrong with it. */
type Judged<T> = { value: T } | { malformed: string } | { beyond: string };

/**
 * Holds requested scopes against those of a grant. A member that is left out or null asks for what the grant has.
 *
 * @returns what the token says, never more than the grant; or a refusal that names each member that is malformed
 *   or, where none is, each that is beyond the grant or unknown.
 */
export function boundScopes(
  asked: Readonly<Record<string, unknown>>,
  granted: GrantedScopes,
): BoundScopes | Refusal {
  const judged = {
    can_start_sessions: flag(asked.can_start_sessions, granted.can_start_sessions),
    can_manage_mode_registry: flag(asked.can_manage_mode_registry, granted.can_manage_mode_registry),
    is_observer: flag(asked.is_observer, granted.is_observer),
    allowed_modes: modes(asked.allowed_modes, granted.allowed_modes),
    max_open_sessions: ceiling(asked.max_open_sessions, granted.max_open_sessions),
  } satisfies { [M in keyof BoundScopes]: Judged<BoundScopes[M]> };
  const all = Object.entries<Judged<unknown>>(judged);

  const malformed = all.flatMap(([name, one]) => ('malformed' in one ? `${name} ${one.malformed}` : []));
  if (malformed.length > 0) return { refused: 'malformed_scopes', detail: malformed.join('; ') };

  const beyond = all.flatMap(([name, one]) => ('beyond' in one ? `${name} ${one.beyond}` : []));
  // A runtime that knows more members than this program would heed them.
  const unknown = Object.keys(asked).filter((name) => !Object.hasOwn(judged, name));
  if (unknown.length > 0) beyond.push(`${quoted(unknown)} is not one of ${Object.keys(judged).join(', ')}`);
  if (beyond.length > 0) return { refused: 'scopes_not_granted', detail: beyond.join('; ') };

  const values = all.flatMap(([name, one]) => ('value' in one ? [[name, one.value]] : []));
  return Object.fromEntries(values) as BoundScopes;
}

function flag(asked: unknown, granted = false): Judged<boolean> {
  if (isLeftOut(asked)) return { value: granted };
  if (typeof asked !== 'boolean') return { malformed: 'must be true or false' };
  return asked && !granted ? { beyond: 'must be false' } : { value: asked };
}

function modes(asked: unknown, granted: readonly string[] | undefined): Judged<readonly string[] | null> {
  if (isLeftOut(asked)) return { value: granted ?? null };
  if (!Array.isArray(asked) || asked.some((mode) => typeof mode !== 'string')) {
    return { malformed: 'must be a list of strings' };
  }
  const more = asked.filter((mode) => granted?.includes(mode) === false);
  return more.length > 0 ? { beyond: `must not have ${quoted(more)}` } : { value: asked };
}

function ceiling(asked: unknown, granted: number | undefined): Judged<number | null> {
  if (isLeftOut(asked)) return { value: granted ?? null };
  // A number that the verifier cannot read as a count makes the whole token worthless.
  if (typeof asked !== 'number' || !Number.isSafeInteger(asked) || asked < 0) {
    return { malformed: 'must be a whole number, 0 or more' };
  }
  return granted !== undefined && asked > granted
    ? { beyond: `must be at most ${granted}` }
    : { value: asked };
}

/** Whether a member of a request asks for nothing of its own. */
export const isLeftOut = (value: unknown): value is undefined | null => value === undefined || value === null;

/** The first few of a caller's own words, cut to what a message and a line of the log bear. */
function quoted(words: readonly string[]): string {
  const shown = words.slice(0, 3).map((word) => JSON.stringify(word.slice(0, 64)));
  const rest = words.length - shown.length;
  return rest > 0 ? `${shown.join(', ')} and ${rest} more` : shown.join(', ');
}
