/**
 * Whether `observed` already holds everything that `desired` says, so that an apply would change nothing.
 *
 * Members that only `observed` has are the API server's defaults or others' fields, in `data` apart. Lists have the same
 * items, those of named ones in any order. Under `resources`, quantities are compared by value, since the API server
 * rewrites them (0.1 becomes 100m).
 */
export function covers(observed: unknown, desired: unknown, path: readonly string[] = []): boolean {
  if (desired === undefined) return true;
  if (Array.isArray(desired)) {
    if (!Array.isArray(observed)) return false;
    if (isNamed(desired)) {
      if (observed.length !== desired.length) return false;
      return desired.every((item) => {
        const match = observed.find((other) => other?.name === item.name);
        return match !== undefined && covers(match, item, path);
      });
    }
    return observed.length === desired.length && desired.every((item, i) => covers(observed[i], item, path));
  }
  if (typeof desired === 'object' && desired !== null) {
    if (typeof observed !== 'object' || observed === null) return false;
    if (path.length === 0 && 'data' in desired && !sameMembers(observed, desired)) return false;
    return Object.entries(desired).every(([member, value]) =>
      covers((observed as Record<string, unknown>)[member], value, [...path, member]),
    );
  }
  if (path.includes('resources')) return quantity(observed) === quantity(desired);
  return observed === desired;
}

// Nobody else has a say in what our ConfigMaps and Secrets hold: each member is a file that a program reads.
const sameMembers = (observed: object, desired: object): boolean => {
  const count = (object: object) => Object.keys((object as { data?: object }).data ?? {}).length;
  return count(observed) === count(desired);
};

const isNamed = (list: unknown[]): list is { name: string }[] =>
  list.length > 0 && list.every((item) => typeof (item as { name?: unknown } | null)?.name === 'string');

const suffixes: Record<string, number> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

// Kubernetes quantities: a decimal number, then a suffix or an exponent.
function quantity(value: unknown): unknown {
  const match = /^([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([a-zA-Z]*)$/.exec(String(value));
  const factor = suffixes[match?.[2] ?? ''];
  if (!match || factor === undefined) return value;
  return Number((Number(match[1]) * factor).toPrecision(12));
}
