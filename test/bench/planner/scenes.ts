import type { MacpAuthIssuer } from '../../../operator/api/names.ts';
import type { MacpAuthIssuerSpec } from '../../../operator/api/v1alpha1.ts';
import { agentSecret, jwksConfigMap } from '../../../operator/build/files.ts';
import { keyPolicy } from '../../../operator/observe/keyring.ts';
import { type Keyring, publicKeys } from '../../../operator/plan/keyring.ts';
import { type Plan, type PlanInput, plan } from '../../../operator/plan/planner.ts';
import { selectNamespaces } from '../../../operator/plan/selection.ts';
import { observeServers, type ServerAnswer } from '../../../operator/plan/servers.ts';
import {
  active,
  hour,
  issuerOf,
  keyringOf,
  newKeys,
  present,
  publishedOnly,
  spare,
  t0,
  tracesOf,
} from '../../unit/operator/builders.ts';

/** What one look at an issuer decides, as a function that can be called again and again. */
interface Scene {
  /** The planner alone. */
  plan: () => Plan;
  /** With what comes before and after it without asking anybody: who is selected, and every object with keys. */
  look: () => void;
}

/** What grows, and how far it can. */
export interface Dimension {
  name: string;
  sizes: readonly number[];
  scene: (size: number) => Scene;
}

// For a plan that makes some.
const fresh = newKeys(4);

const selector = { matchLabels: { agents: 'yes' } };
const now = t0 + hour;

function keyringWith(keys: number): Keyring {
  const retired = Array.from({ length: keys - 3 }, (_, i) =>
    publishedOnly({ activateAt: t0 - (i + 1) * hour, signUntil: t0 + hour, maxTTLMs: hour }),
  );
  return keyringOf({ keys: [...retired, active(), spare({ servedSince: t0 }), spare({ servedSince: t0 })] });
}

const namespaceNames = (count: number): string[] =>
  Array.from({ length: count }, (_, i) => `agents-${String(i).padStart(5, '0')}`);

// Two servers give out what they should, and every agent Secret holds what it should: nothing is to be written.
function sceneOf(options: {
  keyring: Keyring;
  namespaces: readonly string[];
  labelled: boolean;
  grants?: NonNullable<NonNullable<MacpAuthIssuerSpec['agents']>['grants']>;
}): Scene {
  const { keyring, namespaces, labelled, grants } = options;
  const agents = { namespaceSelector: selector, ...(grants && { grants }) };
  const issuer: MacpAuthIssuer = issuerOf({ agents });
  const traces = tracesOf(keyring);
  const secrets = namespaces.map((namespace) => ({ namespace, keys: traces.distributed }));
  const views = namespaces.map((name) => ({
    name,
    labels: { agents: labelled ? 'yes' : 'no' },
    terminating: false,
    readable: true,
  }));
  const own = issuer.metadata.namespace;
  const selection = () => selectNamespaces(own, selector, views);
  const served: ServerAnswer[] = ['a', 'b'].map((pod) => ({
    pod,
    keys: keyring.keys.map(({ publicKey }) => publicKey),
    clockDifferenceMs: 0,
  }));
  const input = (selected: ReturnType<typeof selection>): PlanInput => ({
    policy: keyPolicy(issuer),
    observed: present(keyring),
    traces,
    servers: observeServers(served, keyring),
    agents: { ...selected, selector, held: secrets, unseen: [] },
    now,
    newKeys: fresh,
  });
  const ready = input(selection());
  return {
    plan: () => plan(ready),
    look() {
      const decision = plan(input(selection()));
      const after = 'keyring' in decision ? decision.keyring : keyring;
      jwksConfigMap(issuer, publicKeys(after), after.revision);
      for (const namespace of [own, ...after.namespaces]) agentSecret(issuer, namespace, after);
    },
  };
}

const grantsFor = (count: number) =>
  Array.from({ length: count }, (_, i) => ({
    serviceAccounts: [`planner-${i}`, `worker-${i}`],
    namespaces: ['team', ...namespaceNames(16)],
    sender: 'agent://{namespace}/{serviceAccount}',
    scopes: { can_start_sessions: true, allowed_modes: ['decision', 'negotiation'], max_open_sessions: 5 },
    maxTTL: '10m',
    mintsPerMinute: 600,
  }));

/** Everything that a look can grow with. 64 keys and 64 grants are the most that there can be. */
export const dimensions: readonly Dimension[] = [
  {
    name: 'keys',
    sizes: [4, 8, 16, 32, 64],
    scene: (size) => sceneOf({ keyring: keyringWith(size), namespaces: [], labelled: true }),
  },
  {
    name: 'namespaces',
    sizes: [16, 64, 256, 1024, 4096],
    scene(size) {
      const namespaces = namespaceNames(size);
      return sceneOf({ keyring: { ...keyringWith(4), namespaces }, namespaces, labelled: true });
    },
  },
  {
    name: 'namespaces deselected at once',
    sizes: [16, 64, 256, 1024, 4096],
    scene(size) {
      const namespaces = namespaceNames(size);
      return sceneOf({ keyring: { ...keyringWith(4), namespaces }, namespaces, labelled: false });
    },
  },
  {
    name: 'deselected namespaces whose keys are waited for',
    sizes: [16, 64, 256, 1024, 4096],
    scene(size) {
      const keyring = keyringWith(16);
      const keyIDs = keyring.keys.map(({ kid }) => kid);
      const deselected = namespaceNames(size).map((namespace) => ({ namespace, since: t0, keyIDs }));
      return sceneOf({ keyring: { ...keyring, deselected }, namespaces: [], labelled: false });
    },
  },
  {
    name: 'grants',
    sizes: [4, 8, 16, 32, 64],
    scene: (size) =>
      sceneOf({ keyring: keyringWith(4), namespaces: [], labelled: true, grants: grantsFor(size) }),
  },
];
