import { describe, expect, test } from '@jest/globals';
import {
  type NamespaceSelector,
  type NamespaceView,
  namedBy,
  selectNamespaces,
} from '../../../operator/plan/selection.ts';

const view = (name: string, labels: Record<string, string> = {}, more: Partial<NamespaceView> = {}) => ({
  name,
  labels: { 'kubernetes.io/metadata.name': name, ...labels },
  terminating: false,
  readable: true,
  ...more,
});

const namespaces = [
  view('own', { team: 'a' }),
  view('b', { team: 'a', tier: 'gold' }),
  view('a', { team: 'a' }),
  view('c', { team: 'c' }),
  view('plain'),
  view('going', { team: 'a' }, { terminating: true }),
  view('kube-system', { team: 'a' }),
];
const others = ['a', 'b', 'c', 'kube-system', 'plain'];

describe('a selector', () => {
  const cases: [string, NamespaceSelector | undefined, string[]][] = [
    ['that is absent selects none', undefined, []],
    ['of nothing selects all', {}, ['a', 'b', 'c', 'plain']],
    ['with no requirements selects all', { matchLabels: {}, matchExpressions: [] }, ['a', 'b', 'c', 'plain']],
    ['by a label', { matchLabels: { team: 'a' } }, ['a', 'b']],
    ['by two labels', { matchLabels: { team: 'a', tier: 'gold' } }, ['b']],
    ['by what every object has', { matchExpressions: [{ key: 'constructor', operator: 'Exists' }] }, []],
    ['with In', { matchExpressions: [{ key: 'team', operator: 'In', values: ['a', 'c'] }] }, ['a', 'b', 'c']],
    [
      'with NotIn, which one without the label meets',
      { matchExpressions: [{ key: 'team', operator: 'NotIn', values: ['a'] }] },
      ['c', 'plain'],
    ],
    ['with Exists', { matchExpressions: [{ key: 'tier', operator: 'Exists' }] }, ['b']],
    ['with DoesNotExist', { matchExpressions: [{ key: 'team', operator: 'DoesNotExist' }] }, ['plain']],
    [
      'with labels and expressions, all of which count',
      { matchLabels: { team: 'a' }, matchExpressions: [{ key: 'tier', operator: 'DoesNotExist' }] },
      ['a'],
    ],
    ['by name', { matchLabels: { 'kubernetes.io/metadata.name': 'c' } }, ['c']],
    ['never kube- namespaces', { matchLabels: { 'kubernetes.io/metadata.name': 'kube-system' } }, []],
  ];
  test.each(cases)('%s', (_, selector, selected) => {
    const unselected = others.filter((name) => !selected.includes(name));
    expect(selectNamespaces('own', selector, namespaces)).toEqual({ selected, unselected, unknown: [] });
  });

  test('says nothing while it is not known which namespaces there are', () => {
    expect(selectNamespaces('own', {}, undefined)).toEqual({ selected: [], unselected: [], unknown: 'all' });
  });

  const unreadable = (selector: NamespaceSelector | undefined) =>
    selectNamespaces('own', selector, [view('dark', {}, { readable: false })]);
  const dark = { 'kubernetes.io/metadata.name': 'dark' };
  test.each<[string, NamespaceSelector | undefined, string]>([
    ['is selected by name', { matchLabels: dark }, 'selected'],
    ['is selected by {}', {}, 'selected'],
    [
      'is not selected by another name',
      { matchLabels: { 'kubernetes.io/metadata.name': 'c' } },
      'unselected',
    ],
    ['is neither by a label', { matchLabels: { team: 'a' } }, 'unknown'],
    ['is neither by name and a label', { matchLabels: { ...dark, team: 'a' } }, 'unknown'],
    [
      'is neither by a label that it must not have',
      { matchExpressions: [{ key: 'team', operator: 'DoesNotExist' }] },
      'unknown',
    ],
    ['is not selected without a selector', undefined, 'unselected'],
  ])('makes of a namespace whose labels cannot be read: it %s', (_, selector, list) => {
    expect(unreadable(selector)).toEqual({ selected: [], unselected: [], unknown: [], [list]: ['dark'] });
  });

  test('says which namespaces it names', () => {
    const key = 'kubernetes.io/metadata.name';
    expect(
      namedBy({
        matchLabels: { [key]: 'a', team: 'x' },
        matchExpressions: [
          { key, operator: 'In', values: ['b', 'c'] },
          { key, operator: 'NotIn', values: ['d'] },
          { key: 'team', operator: 'In', values: ['y'] },
          // The API server takes no such one.
          { key, operator: 'In' },
        ],
      }),
    ).toEqual(['a', 'b', 'c']);
  });
});
