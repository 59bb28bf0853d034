import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { type Grant, type GrantedScopes, grant as grantSchema } from '../../../sidecar/contract/grants.ts';
import { boundsFor } from '../../../sidecar/mint/grant.ts';
import { refusalText } from '../../../sidecar/mint/refusals.ts';
import { type MintRequest, readMintRequest } from '../../../sidecar/mint/request.ts';
import { type BoundScopes, boundScopes } from '../../../sidecar/mint/scopes.ts';

const planner = { namespace: 'team-a', serviceAccount: 'planner' };
const limits = { defaultTTLSeconds: 300, maxTTLSeconds: 3600 };
const nothing: BoundScopes = {
  can_start_sessions: false,
  can_manage_mode_registry: false,
  is_observer: false,
  allowed_modes: null,
  max_open_sessions: null,
};

describe('the grant of a workload', () => {
  const first = { sender: 'first' };
  const second = { sender: 'second' };
  test.each<[string, Grant[], object]>([
    ['one for everybody', [first], first],
    ['the first of two that match', [first, second], first],
    ['one for its ServiceAccount', [{ ...first, serviceAccounts: ['other', 'planner'] }], first],
    ['one for its namespace', [{ ...first, namespaces: ['other', 'team-a'] }], first],
    ['one for both', [{ ...first, namespaces: ['team-a'], serviceAccounts: ['planner'] }], first],
    ['not one for another ServiceAccount', [{ ...first, serviceAccounts: ['plan'] }, second], second],
    ['not one for another namespace', [{ ...first, namespaces: ['team'] }, second], second],
    [
      'not one for its ServiceAccount elsewhere',
      [{ ...first, namespaces: ['other'], serviceAccounts: ['planner'] }, second],
      second,
    ],
    ['not one for nobody', [{ ...first, serviceAccounts: [] }, second], second],
  ])('is %s', (_, grants, expected) => {
    expect(boundsFor(grants, planner)).toEqual(expected);
  });

  test.each([
    ['agent://{namespace}/{serviceAccount}', 'agent://team-a/planner'],
    ['{serviceAccount}{serviceAccount}', 'plannerplanner'],
    ['agent://fixed', 'agent://fixed'],
  ])('spells its sender out: %s', (sender, expected) => {
    expect(boundsFor([{ sender }], planner)).toEqual({ sender: expected });
  });

  test('spells a name out once, whatever it looks like', () => {
    const odd = { namespace: '{serviceAccount}', serviceAccount: '$&' };
    expect(boundsFor([{ sender: '{namespace}/{serviceAccount}' }], odd)).toEqual({
      sender: '{serviceAccount}/$&',
    });
  });

  test('is none where there are no grants, known workload or not', () => {
    expect(boundsFor(undefined, planner)).toBeUndefined();
    expect(boundsFor(undefined, { namespace: undefined, serviceAccount: undefined })).toBeUndefined();
  });

  test.each<[string, Grant[]]>([
    ['no grant matches', [{ namespaces: ['team-b'] }, { serviceAccounts: ['other'] }]],
    ['the list is empty', []],
  ])('%s: every mint is refused, by name', (_, grants) => {
    const refusal = boundsFor(grants, planner) as { refused: 'no_grant' };
    expect(refusal.refused).toBe('no_grant');
    expect(refusalText(refusal)).toBe(
      'no grant is for this workload: namespace "team-a", ServiceAccount "planner"',
    );
  });

  test.each([
    [{ namespace: undefined }, 'MACP_AUTH_POD_NAMESPACE must be set from the downward API'],
    [{ serviceAccount: undefined }, 'MACP_AUTH_SERVICE_ACCOUNT must be set from the downward API'],
    [{ namespace: undefined, serviceAccount: undefined }, /_NAMESPACE and MACP_AUTH_SERVICE_ACCOUNT must/],
  ])('with %j missing every mint is refused, even by a grant for everybody', (missing, detail) => {
    expect(boundsFor([{}], { ...planner, ...missing })).toEqual({
      refused: 'no_identity',
      detail: typeof detail === 'string' ? detail : expect.stringMatching(detail),
    });
  });
});

describe('a request under a grant', () => {
  const mint = (body: unknown, grant: Grant) => readMintRequest(body, limits, grant);
  const pinned = { sender: 'agent://pinned' };

  test.each<[string, unknown, Grant, Partial<MintRequest>]>([
    ['left out sender', {}, pinned, { sender: 'agent://pinned', scopes: nothing, ttlSeconds: 300 }],
    ['null sender', { sender: null }, pinned, { sender: 'agent://pinned' }],
    ['the very sender', { sender: 'agent://pinned' }, pinned, { sender: 'agent://pinned' }],
    ['any sender where none is pinned', { sender: ' any ' }, {}, { sender: ' any ' }],
    ['default TTL under the maximum', {}, { ...pinned, maxTTLSeconds: 600 }, { ttlSeconds: 300 }],
    ['default TTL over the maximum', {}, { ...pinned, maxTTLSeconds: 60 }, { ttlSeconds: 60 }],
    ['null TTL', { ttl_seconds: null }, { ...pinned, maxTTLSeconds: 60 }, { ttlSeconds: 60 }],
    ['TTL at the maximum', { ttl_seconds: 60 }, { ...pinned, maxTTLSeconds: 60 }, { ttlSeconds: 60 }],
    ['TTL without a maximum of the grant', { ttl_seconds: 1e9 }, pinned, { ttlSeconds: 3600 }],
    [
      "TTL within the grant, above everybody's",
      { ttl_seconds: 5000 },
      { ...pinned, maxTTLSeconds: 7200 },
      { ttlSeconds: 3600 },
    ],
  ])('%s', (_, body, grant, expected) => {
    expect(mint(body, grant)).toMatchObject(expected);
  });

  test.each<[string, unknown, Grant, string, string]>([
    ['no sender', {}, {}, 'invalid_sender', 'sender is required'],
    ['no JSON', undefined, pinned, 'invalid_sender', 'sender is required'],
    ['an array', [], pinned, 'invalid_sender', 'sender is required'],
    ['a blank sender', { sender: ' ' }, pinned, 'invalid_sender', 'sender is required'],
    ['a number as sender', { sender: 7 }, pinned, 'invalid_sender', 'sender is required'],
    [
      'another sender',
      { sender: 'agent://other' },
      pinned,
      'sender_not_granted',
      'sender is beyond the grant: it must be "agent://pinned" or left out',
    ],
    [
      'the sender and a blank',
      { sender: 'agent://pinned ' },
      pinned,
      'sender_not_granted',
      'sender is beyond',
    ],
    ['scopes that are none', { scopes: [] }, pinned, 'invalid_scopes', 'scopes must be an object'],
    ['scopes that are null', { scopes: null }, pinned, 'invalid_scopes', 'scopes must be an object'],
    ['a bad TTL', { ttl_seconds: 0 }, pinned, 'invalid_ttl', 'ttl_seconds must be a positive number'],
    [
      'a TTL over the maximum',
      { ttl_seconds: 60.1 },
      { ...pinned, maxTTLSeconds: 60 },
      'ttl_not_granted',
      'ttl_seconds is beyond the grant: it must be at most 60',
    ],
    [
      'a scope beyond',
      { scopes: { is_observer: true } },
      pinned,
      'scopes_not_granted',
      'scopes are beyond the grant: is_observer must be false',
    ],
    [
      'all of it: what is malformed first',
      { sender: 'x', scopes: { is_observer: 1 }, ttl_seconds: -1 },
      pinned,
      'invalid_ttl',
      '',
    ],
    [
      'all of it: then the sender',
      { sender: 'x', scopes: { is_observer: true }, ttl_seconds: 9999 },
      pinned,
      'sender_not_granted',
      '',
    ],
    [
      'all of it: then the scopes',
      { scopes: { is_observer: true }, ttl_seconds: 9999 },
      { ...pinned, maxTTLSeconds: 1 },
      'scopes_not_granted',
      '',
    ],
  ])('%s is refused', (_, body, grant, reason, text) => {
    const refusal = mint(body, grant) as { refused: 'no_grant' };
    expect(refusal.refused).toBe(reason);
    expect(refusalText(refusal)).toContain(text);
  });
});

describe('scopes under a grant', () => {
  const wide: GrantedScopes = {
    can_start_sessions: true,
    can_manage_mode_registry: true,
    is_observer: true,
    allowed_modes: ['a', 'b'],
    max_open_sessions: 5,
  };

  test.each<[string, object, GrantedScopes, object]>([
    ['nothing asked, nothing granted', {}, {}, nothing],
    ['nothing asked, all granted', {}, wide, wide],
    ['all asked that is granted', wide, wide, wide],
    [
      'null is as left out',
      { can_start_sessions: null, allowed_modes: null, max_open_sessions: null },
      wide,
      wide,
    ],
    ['less: a flag', { can_start_sessions: false }, wide, { ...wide, can_start_sessions: false }],
    ['false where it is not granted', { is_observer: false }, {}, nothing],
    ['false is granted as false', {}, { can_start_sessions: false }, nothing],
    ['less: some modes', { allowed_modes: ['b'] }, wide, { ...wide, allowed_modes: ['b'] }],
    ['less: no mode at all', { allowed_modes: [] }, wide, { ...wide, allowed_modes: [] }],
    ['some modes of all', { allowed_modes: ['x'] }, {}, { ...nothing, allowed_modes: ['x'] }],
    ['no mode granted', {}, { allowed_modes: [] }, { ...nothing, allowed_modes: [] }],
    ['less: a lower ceiling', { max_open_sessions: 0 }, wide, { ...wide, max_open_sessions: 0 }],
    ['a ceiling where there is none', { max_open_sessions: 9 }, {}, { ...nothing, max_open_sessions: 9 }],
  ])('%s', (_, asked, granted, expected) => {
    expect(boundScopes({ ...asked }, granted)).toEqual(expected);
  });

  const five = 'can_start_sessions, can_manage_mode_registry, is_observer, allowed_modes, max_open_sessions';
  test.each<[object, GrantedScopes, string]>([
    [{ can_start_sessions: true }, {}, 'can_start_sessions must be false'],
    [
      { can_manage_mode_registry: true },
      { can_manage_mode_registry: false },
      'can_manage_mode_registry must be false',
    ],
    [{ is_observer: true }, { can_start_sessions: true }, 'is_observer must be false'],
    [{ allowed_modes: ['a', 'c'] }, wide, 'allowed_modes must not have "c"'],
    [
      { allowed_modes: ['c', 'd', 'e', 'f', 'g'] },
      wide,
      'allowed_modes must not have "c", "d", "e" and 2 more',
    ],
    [{ allowed_modes: ['a'] }, { allowed_modes: [] }, 'allowed_modes must not have "a"'],
    [{ max_open_sessions: 6 }, wide, 'max_open_sessions must be at most 5'],
    [{ max_open_sessions: 1 }, { max_open_sessions: 0 }, 'max_open_sessions must be at most 0'],
    [{ colour: 'red' }, wide, `"colour" is not one of ${five}`],
    [{ colour: null }, wide, `"colour" is not one of ${five}`],
    [JSON.parse('{"__proto__":{"is_observer":true}}'), {}, `"__proto__" is not one of ${five}`],
    [{ toString: 1 }, wide, `"toString" is not one of ${five}`],
    [{ ['x'.repeat(99)]: 1 }, wide, `"${'x'.repeat(64)}" is not one of ${five}`],
    [
      { can_start_sessions: true, max_open_sessions: 6 },
      { max_open_sessions: 5 },
      'can_start_sessions must be false; max_open_sessions must be at most 5',
    ],
  ])('%j can be beyond a grant (%#)', (asked, granted, detail) => {
    const own = Object.fromEntries(Object.entries(asked));
    expect(boundScopes(own, granted)).toEqual({ refused: 'scopes_not_granted', detail });
  });

  // The runtime refuses the whole token for any of these.
  test.each<[object, string]>([
    [{ can_start_sessions: 'yes' }, 'can_start_sessions must be true or false'],
    [{ is_observer: 1 }, 'is_observer must be true or false'],
    [{ allowed_modes: 'a' }, 'allowed_modes must be a list of strings'],
    [{ allowed_modes: ['a', 1] }, 'allowed_modes must be a list of strings'],
    [{ allowed_modes: [null] }, 'allowed_modes must be a list of strings'],
    [{ max_open_sessions: -1 }, 'max_open_sessions must be a whole number, 0 or more'],
    [{ max_open_sessions: 2.5 }, 'max_open_sessions must be a whole number, 0 or more'],
    [{ max_open_sessions: '5' }, 'max_open_sessions must be a whole number, 0 or more'],
    [{ max_open_sessions: 1e21 }, 'max_open_sessions must be a whole number, 0 or more'],
    [
      { can_start_sessions: 0, max_open_sessions: -1, colour: 1 },
      'can_start_sessions must be true or false; max_open_sessions must be a whole number, 0 or more',
    ],
  ])('%j is malformed, granted or not', (asked, detail) => {
    expect(boundScopes({ ...asked }, wide)).toEqual({ refused: 'malformed_scopes', detail });
    expect(boundScopes({ ...asked }, {})).toEqual({ refused: 'malformed_scopes', detail });
  });
});

describe('for any request and any grant', () => {
  const mode = fc.constantFrom('a', 'b', 'c');
  const granted: fc.Arbitrary<GrantedScopes> = fc.record(
    {
      can_start_sessions: fc.boolean(),
      can_manage_mode_registry: fc.boolean(),
      is_observer: fc.boolean(),
      allowed_modes: fc.uniqueArray(mode),
      max_open_sessions: fc.nat({ max: 4 }),
    },
    { requiredKeys: [] },
  );
  const wellFormed = fc.record(
    {
      can_start_sessions: fc.option(fc.boolean()),
      can_manage_mode_registry: fc.option(fc.boolean()),
      is_observer: fc.option(fc.boolean()),
      allowed_modes: fc.option(fc.uniqueArray(mode)),
      max_open_sessions: fc.option(fc.nat({ max: 6 })),
    },
    { requiredKeys: [] },
  );
  const strange = fc.record(
    {
      can_start_sessions: fc.jsonValue(),
      allowed_modes: fc.jsonValue(),
      max_open_sessions: fc.double(),
      more: fc.jsonValue(),
    },
    { requiredKeys: [] },
  );
  const asked = fc.oneof(
    { weight: 4, arbitrary: wellFormed },
    strange,
    fc.dictionary(fc.string(), fc.jsonValue()),
  );

  /** What a verifier makes of scopes that are in a token: what each member is when it is left out or null. */
  const asVerified = (scopes: Partial<Record<keyof BoundScopes, unknown>>) => ({
    can_start_sessions: (scopes.can_start_sessions ?? true) as boolean,
    can_manage_mode_registry: (scopes.can_manage_mode_registry ?? false) as boolean,
    is_observer: (scopes.is_observer ?? false) as boolean,
    allowed_modes: (scopes.allowed_modes ?? ['a', 'b', 'c', 'any other']) as string[],
    max_open_sessions: (scopes.max_open_sessions ?? Number.POSITIVE_INFINITY) as number,
  });

  test('no token has more than the grant, and every one says all five', () => {
    fc.assert(
      fc.property(asked, granted, (scopes, most) => {
        const result = boundScopes(scopes, most);
        if ('refused' in result) return;
        expect(Object.keys(result).toSorted()).toEqual(Object.keys(nothing).toSorted());
        const token = asVerified(JSON.parse(JSON.stringify(result)));
        // In a grant, unlike in a token, what is not there is not granted.
        const bound = asVerified({ can_start_sessions: false, ...most });
        for (const flag of ['can_start_sessions', 'can_manage_mode_registry', 'is_observer'] as const) {
          expect(token[flag] && !bound[flag]).toBe(false);
        }
        if (most.allowed_modes) {
          expect(most.allowed_modes).toEqual(expect.arrayContaining(token.allowed_modes));
        }
        expect(token.max_open_sessions).toBeLessThanOrEqual(bound.max_open_sessions);
      }),
      { numRuns: 2_000 },
    );
  });

  test('what was bounded once stays as it is', () => {
    fc.assert(
      fc.property(asked, granted, (scopes, most) => {
        const once = boundScopes(scopes, most);
        if ('refused' in once) return;
        expect(boundScopes({ ...once }, most)).toEqual(once);
      }),
    );
  });

  test('what asks for nothing gets the grant, and what asks for less gets no more than it asked', () => {
    fc.assert(
      fc.property(wellFormed, granted, (scopes, most) => {
        const all = boundScopes({}, most);
        expect(all).toEqual({ ...nothing, ...most });
        const result = boundScopes(scopes, most);
        if ('refused' in result) return;
        const given = Object.entries(scopes).filter(([, value]) => value !== null);
        expect(result).toEqual({ ...all, ...Object.fromEntries(given) });
      }),
    );
  });

  test('sender and TTL are within it too', () => {
    const body = fc.record(
      {
        sender: fc.option(fc.constantFrom('agent://team-a/planner', 'agent://other')),
        scopes: asked,
        ttl_seconds: fc.option(fc.double({ min: 1, max: 9000, noNaN: true })),
      },
      { requiredKeys: [] },
    );
    const sender = fc.constantFrom('agent://{namespace}/{serviceAccount}', undefined);
    const maxTTLSeconds = fc.option(fc.integer({ min: 1, max: 9000 }), { nil: undefined });
    fc.assert(
      fc.property(body, fc.record({ sender, scopes: granted, maxTTLSeconds }), (value, grant) => {
        const bounds = boundsFor([grant], planner);
        if (bounds === undefined || 'refused' in bounds) throw new Error('there is a grant');
        const result = readMintRequest(value, limits, bounds);
        if ('refused' in result) return;
        expect(result.sender).toBe(bounds.sender ?? value.sender);
        expect(result.ttlSeconds).toBeLessThanOrEqual(Math.min(grant.maxTTLSeconds ?? 3600, 3600));
        expect(result.ttlSeconds).toBeLessThanOrEqual(value.ttl_seconds ?? 300);
      }),
    );
  });
});

describe('a grant in the files', () => {
  test.each([
    ['empty', {}],
    [
      'whole',
      {
        serviceAccounts: ['a'],
        namespaces: ['b'],
        sender: '{namespace}',
        scopes: {},
        maxTTLSeconds: 1,
        mintsPerMinute: 1,
      },
    ],
    ['for nobody', { namespaces: [] }],
  ])('%s is good', (_, value) => {
    expect(grantSchema.parse(value)).toEqual(value);
  });

  test('of a newer operator is read without what is not known', () => {
    const newer = { sender: 'a', colour: 'red', scopes: { is_observer: true, colour: 'red' } };
    expect(grantSchema.parse(newer)).toEqual({ sender: 'a', scopes: { is_observer: true } });
  });

  test.each([
    ['{name}', 'sender'],
    ['{Namespace}', 'sender'],
    ['agent://{namespace', 'sender'],
    ['agent://}', 'sender'],
    ['', 'sender'],
    ['a b', 'sender'],
    ['a\n', 'sender'],
    ['a\u0000', 'sender'],
    ['agent://é', 'sender'],
    ['a\u00a0b', 'sender'],
    [0, 'maxTTLSeconds'],
    [1.5, 'mintsPerMinute'],
    [0, 'mintsPerMinute'],
    ['all', 'serviceAccounts'],
    [[''], 'namespaces'],
    [{ can_start_sessions: 'yes' }, 'scopes'],
    [{ max_open_sessions: -1 }, 'scopes'],
  ])('with %j as %s is broken', (value, member) => {
    expect(grantSchema.safeParse({ [member]: value }).success).toBe(false);
  });
});
