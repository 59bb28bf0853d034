import { setTimeout as sleep } from 'node:timers/promises';
import { annotations, type MacpAuthIssuer, objectNames } from '../../operator/api/names.ts';
import { fromBase64 } from '../../operator/build/files.ts';
import { type KubeObject, resources } from '../../operator/cluster/resources.ts';
import { decodeKeyring, keyringFile } from '../../operator/plan/codec.ts';
import type { Keyring } from '../../operator/plan/keyring.ts';
import type { Bench } from '../integration/support.ts';

/** A namespace of a cluster, as its administrator reaches it. */
export type Place = Pick<Bench, 'namespace' | 'client' | 'kubectl'>;

/** What an issuer's keys did, and what they must not. */
export interface KeyWatch {
  /** What must not be, in words; the same only once. */
  readonly violations: readonly string[];
  /** How often the keys were looked at. */
  looks(): number;
  stop(): Promise<void>;
}

type Note = (violation: string) => void;
type StatusKey = NonNullable<NonNullable<MacpAuthIssuer['status']>['keys']>[number];

/** A published key, as the keyring or status tells of it. Instants are milliseconds since the Unix epoch. */
interface Sighting {
  kid: string;
  activateAt: number | undefined;
  signUntil: number | undefined;
  removeAt: number | undefined;
}

const neverEarlier = ['signUntil', 'removeAt'] as const;

/** What holds from one sight of an issuer's keys to the next, whoever tells of them. */
function keyLife(
  source: string,
  note: Note,
): (keys: readonly Sighting[], revoked: readonly string[]) => void {
  let last = new Map<string, Sighting>();
  let revokedBefore: readonly string[] = [];
  const left = new Set<string>();
  return (keys, revoked) => {
    const kids = new Set(keys.map(({ kid }) => kid));
    if (kids.size !== keys.length) note(`${source}: a key twice`);
    for (const kid of revokedBefore) {
      if (!revoked.includes(kid)) note(`${source}: the revocation of ${kid} was forgotten`);
    }
    for (const kid of [...left, ...revoked]) if (kids.has(kid)) note(`${source}: ${kid} returned`);
    const isRevocation = revoked.some((kid) => !revokedBefore.includes(kid));
    for (const key of keys) {
      const before = last.get(key.kid);
      if (before?.activateAt !== undefined && key.activateAt !== before.activateAt && !isRevocation)
        note(`${source}: activateAt of ${key.kid} moved from ${before.activateAt} to ${key.activateAt}`);
      for (const time of neverEarlier) {
        const was = before?.[time];
        if (was !== undefined && !((key[time] ?? 0) >= was))
          note(`${source}: ${time} of ${key.kid} went from ${was} to ${key[time]}`);
      }
    }
    for (const { kid, activateAt, removeAt = Number.POSITIVE_INFINITY } of last.values()) {
      if (kids.has(kid)) continue;
      left.add(kid);
      // A spare that nobody was given may go, and a revoked key must.
      if (activateAt !== undefined && removeAt > Date.now() && !revoked.includes(kid))
        note(`${source}: ${kid} left, to be removed at ${removeAt}`);
    }
    last = new Map(keys.map((key) => [key.kid, key]));
    revokedBefore = revoked;
  };
}

const states = ['Next', 'Active', 'Retired', 'Revoked'];

/** What status says of keys. */
function statusWatch(note: Note): (keys: readonly StatusKey[]) => void {
  const follow = keyLife('status', note);
  const last = new Map<string, string>();
  const at = (time: string | undefined) => (time === undefined ? undefined : Date.parse(time));
  return (keys) => {
    const active = keys.filter(({ state }) => state === 'Active').length;
    if (active !== 1) note(`status: ${active} active keys`);
    if (!keys.some(({ state, activeTime }) => state === 'Next' && activeTime === undefined))
      note('status: no spare');
    for (const { keyID, state } of keys) {
      if (states.indexOf(state) < states.indexOf(last.get(keyID) ?? 'Next'))
        note(`status: ${keyID} went from ${last.get(keyID)} to ${state}`);
      last.set(keyID, state);
    }
    follow(
      keys
        .filter(({ state }) => state !== 'Revoked')
        .map(({ keyID, activeTime, signUntilTime, removalTime }) => ({
          kid: keyID,
          activateAt: at(activeTime),
          signUntil: at(signUntilTime),
          removeAt: at(removalTime),
        })),
      keys.filter(({ state }) => state === 'Revoked').map(({ keyID }) => keyID),
    );
  };
}

/** What the keyring holds. */
function keyringWatch(note: Note): (keyring: Keyring) => void {
  const follow = keyLife('keyring', note);
  return ({ keys, revoked, removedKeyIDs }) => {
    if (!keys.some(({ privateKey, activateAt }) => privateKey && activateAt === undefined))
      note('keyring: no spare');
    for (const { kid } of keys) if (removedKeyIDs.includes(kid)) note(`keyring: ${kid} is there and removed`);
    follow(
      keys.map(({ kid, activateAt, signUntil, removeAt }) => ({ kid, activateAt, signUntil, removeAt })),
      revoked.map(({ kid }) => kid),
    );
  };
}

interface Objects {
  issuer: MacpAuthIssuer;
  agentSecret: KubeObject | undefined;
  configMap: KubeObject | undefined;
  keyringSecret: KubeObject | undefined;
}

// In the order opposite to that of their writing: whatever one of them tells of, those after it know.
async function read({ client, namespace }: Place, name: string): Promise<Objects> {
  const names = objectNames({ namespace, name });
  const issuer = await client.get<MacpAuthIssuer>(resources.issuers, namespace, name);
  const agentSecret = await client.find(resources.secrets, namespace, names.agentSecret);
  const configMap = await client.find(resources.configMaps, namespace, names.server);
  return {
    issuer,
    agentSecret,
    configMap,
    keyringSecret: await client.find(resources.secrets, namespace, names.keyring),
  };
}

const dataOf = (object: KubeObject | undefined) => (object?.data ?? {}) as Record<string, string | undefined>;

/** The kids of a JWK Set, or of the file of signing keys. */
export const kidsOf = (text: string | undefined): string[] =>
  (JSON.parse(text ?? '') as { keys: { kid: string }[] }).keys.map(({ kid }) => kid);
const revisionOf = (object: KubeObject | undefined) =>
  Number(object?.metadata.annotations?.[annotations.revision]);

/** What holds at any one time; `revoked` are the kids that status told of. */
function judge(
  { agentSecret, configMap }: Objects,
  keyring: Keyring,
  revoked: Set<string>,
  note: Note,
): void {
  const published = kidsOf(dataOf(configMap)['jwks.json']);
  const signing = kidsOf(fromBase64(dataOf(agentSecret)['keys.json']));
  const beside = kidsOf(fromBase64(dataOf(agentSecret)['jwks.json']));
  const withdrawn = new Set(keyring.revoked.map(({ kid }) => kid));
  for (const [what, jwks] of [
    ['JWKS', published],
    ['JWKS beside the keys', beside],
  ] as const) {
    if (jwks.length === 0) note(`the ${what} is empty`);
    if (jwks.every((kid) => signing.includes(kid))) note(`the ${what} has no key that does not sign`);
    for (const kid of jwks) if (revoked.has(kid)) note(`revoked ${kid} is in the ${what}`);
  }
  if (signing.length < 1 || signing.length > 2) note(`the agent Secret holds ${signing.length} private keys`);
  for (const kid of signing) {
    if (!beside.includes(kid)) note(`${kid} signs and is not beside its private key`);
    if (!published.includes(kid) && !withdrawn.has(kid)) note(`${kid} signs and is not published`);
    if (revoked.has(kid)) note(`revoked ${kid} is in the agent Secret`);
  }
  if (!(revisionOf(agentSecret) <= revisionOf(configMap) && revisionOf(configMap) <= keyring.revision))
    note('the agent Secret is newer than the JWKS, or that than the keyring');
}

/** Looks at an issuer's keyring, JWKS, agent Secret and status several times a second, and notes what must not be. */
export function watchKeys(place: Place, name: string): KeyWatch {
  const violations = new Set<string>();
  const note = (violation: string) => void violations.add(violation);
  const lookAtStatus = statusWatch(note);
  const lookAtKeyring = keyringWatch(note);
  const revoked = new Set<string>();
  let stopped = false;
  let looks = 0;

  function look(objects: Objects): void {
    const { status } = objects.issuer;
    if (status?.keys) lookAtStatus(status.keys);
    for (const { keyID, state } of status?.keys ?? []) if (state === 'Revoked') revoked.add(keyID);
    const decoded = decodeKeyring(fromBase64(dataOf(objects.keyringSecret)[keyringFile]));
    if ('problem' in decoded) throw new Error(`the keyring: ${decoded.problem}`);
    lookAtKeyring(decoded.keyring);
    judge(objects, decoded.keyring, revoked, note);
    looks += 1;
  }

  const running = (async () => {
    while (!stopped) {
      // A request that failed says nothing of keys; what cannot be read does.
      const objects = await read(place, name).catch(() => undefined);
      try {
        if (objects) look(objects);
      } catch (error) {
        note(`unreadable: ${(error as Error).message}`);
      }
      await sleep(100);
    }
  })();
  return {
    get violations() {
      return [...violations];
    },
    looks: () => looks,
    async stop() {
      stopped = true;
      await running;
    },
  };
}
