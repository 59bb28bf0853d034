import type { MacpAuthIssuerSpec } from '../api/v1alpha1.ts';

/** Selects namespaces by their labels, as a metav1.LabelSelector; `{}` selects all. */
export type NamespaceSelector = NonNullable<NonNullable<MacpAuthIssuerSpec['agents']>['namespaceSelector']>;

type Expression = NonNullable<NamespaceSelector['matchExpressions']>[number];

/** A namespace that the operator knows of. */
export interface NamespaceView {
  name: string;
  labels: Readonly<Record<string, string>>;
  /** It is on its way out: nothing can be created in it, and all that is in it goes. */
  terminating: boolean;
  /** Whether its labels could be read; otherwise only the one that follows from its name is here. */
  readable: boolean;
}

/** What a selector makes of the namespaces other than the issuer's own. What is in no list is gone or goes. */
export interface Selection {
  selected: string[];
  unselected: string[];
  /** Those of which it cannot be told now. What they have they keep. */
  unknown: string[] | 'all';
}

/** The label that every namespace has. */
export const nameLabel = 'kubernetes.io/metadata.name';

/** Whether a namespace is one of Kubernetes' own. They hold what runs the cluster, and get no keys from elsewhere. */
export const isReserved = (name: string): boolean => name.startsWith('kube-');

const expressionsOf = ({ matchLabels = {}, matchExpressions = [] }: NamespaceSelector): Expression[] => [
  ...Object.entries(matchLabels).map(
    ([key, value]): Expression => ({ key, operator: 'In', values: [value] }),
  ),
  ...matchExpressions,
];

function holds({ key, operator, values }: Expression, labels: NamespaceView['labels']): boolean {
  const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
  // A label that is absent has none of them.
  const isListed = new Set<string | undefined>(values).has(value);
  switch (operator) {
    case 'In':
      return isListed;
    case 'NotIn':
      return !isListed;
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
  }
}

/** Whether labels meet all requirements of a selector. */
export const matches = (selector: NamespaceSelector, labels: NamespaceView['labels']): boolean =>
  expressionsOf(selector).every((expression) => holds(expression, labels));

/**
 * Sorts the namespaces other than the issuer's own, by name. Without a selector none is selected; with `namespaces`
 * undefined it is not known yet which there are.
 */
export function selectNamespaces(
  own: string,
  selector: NamespaceSelector | undefined,
  namespaces: readonly NamespaceView[] | undefined,
): Selection {
  if (!namespaces) return { selected: [], unselected: [], unknown: 'all' };
  const others = namespaces.filter(({ name, terminating }) => name !== own && !terminating);
  const verdicts = others
    .map((namespace) => ({ name: namespace.name, verdict: verdictOn(namespace, selector) }))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const having = (wanted: boolean | undefined) =>
    verdicts.filter(({ verdict }) => verdict === wanted).map(({ name }) => name);
  return { selected: having(true), unselected: having(false), unknown: having(undefined) };
}

// Labels that cannot be read decide nothing, neither that keys are given out nor that they are taken away.
function verdictOn(
  { name, labels, readable }: NamespaceView,
  selector: NamespaceSelector | undefined,
): boolean | undefined {
  if (!selector || isReserved(name)) return false;
  if (readable) return matches(selector, labels);
  const expressions = expressionsOf(selector);
  const byName = expressions.filter(({ key }) => key === nameLabel);
  if (!byName.every((expression) => holds(expression, labels))) return false;
  return byName.length === expressions.length || undefined;
}

/** The namespaces that a selector asks for by name. */
export const namedBy = (selector: NamespaceSelector): string[] =>
  expressionsOf(selector).flatMap(({ key, operator, values = [] }) =>
    key === nameLabel && operator === 'In' ? values : [],
  );
