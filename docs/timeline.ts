// Draws rotation-timeline.svg from what the planner decides under the CRD's defaults; `--check` only compares.
import { readFileSync, writeFileSync } from 'node:fs';
import { parse } from 'yaml';
import type { MacpAuthIssuer } from '../operator/api/names.ts';
import { keyPolicy } from '../operator/observe/keyring.ts';
import { activeKey, type Keyring, type KeyringKey, type NewKey } from '../operator/plan/keyring.ts';
import { type Plan, plan } from '../operator/plan/planner.ts';
import { type KeyPolicy, verifierLeewayMs } from '../operator/plan/policy.ts';
import { ripeAt } from '../operator/plan/rotation.ts';

const crdPath = new URL('../crds/macpauthissuers.yaml', import.meta.url);
const drawingPath = new URL('./rotation-timeline.svg', import.meta.url);

const second = 1_000;
const minute = 60 * second;
const hour = 60 * minute;
const day = 24 * hour;

// The issuer with an empty spec, as the API server completes it.

interface Schema {
  default?: unknown;
  properties?: Record<string, Schema>;
}

function withDefaults(schema: Schema, value: unknown = schema.default): unknown {
  if (!schema.properties || value === undefined) return value;
  const given = value as Record<string, unknown>;
  const members = Object.entries(schema.properties).map(([name, property]) => [
    name,
    withDefaults(property, given[name] ?? property.default),
  ]);
  return Object.fromEntries(members.filter(([, member]) => member !== undefined));
}

function defaultPolicy(): KeyPolicy {
  const crd = parse(readFileSync(crdPath, 'utf8'));
  const spec = withDefaults(crd.spec.versions[0].schema.openAPIV3Schema.properties.spec, {});
  return keyPolicy({ spec } as MacpAuthIssuer);
}

// The lives of the first keys, by the planner itself; instants in milliseconds since the first one's creation.

interface Life {
  name: string;
  createdAt: number;
  ripeAt: number;
  committedAt?: number;
  activateAt?: number;
  signUntil?: number;
  retiredAt?: number;
  removedAt?: number;
}

const drawnKeys = 5;
const start = Date.UTC(2026, 0, 1);
const nameOf = (index: number): string => String.fromCharCode(65 + index);

function newKey(index: number): NewKey {
  const kid = nameOf(index);
  const members = { kty: 'EC', crv: 'P-256', x: kid, y: kid } as const;
  return {
    kid,
    privateKey: { ...members, d: kid },
    publicKey: { ...members, kid, alg: 'ES256', use: 'sig' },
  };
}

function decide(policy: KeyPolicy, keyring: Keyring | undefined, now: number, made: number): Plan {
  const traces = {
    revision: 0,
    statusKeyIDs: [],
    revoked: [],
    statusSignUntil: 0,
    handledRotateNow: undefined,
    observedRotateNow: undefined,
    published: [],
    distributed: [],
    holders: [],
  };
  const input = {
    policy,
    observed: keyring ? ({ state: 'present', keyring } as const) : ({ state: 'absent' } as const),
    traces,
    servers: {
      answers: keyring ? [keyring.keys.map(({ kid }) => kid)] : [],
      silent: 0,
      clockDifferenceMs: 0,
    },
    agents: { selected: [], unselected: [], unknown: [], held: [], unseen: [] },
    now,
  };
  const decision = plan({ ...input, newKeys: [] });
  if (decision.action !== 'needKeys') return decision;
  return plan({ ...input, newKeys: Array.from({ length: decision.count }, (_, i) => newKey(made + i)) });
}

function livesOf(policy: KeyPolicy): Life[] {
  const lives = new Map<string, Life>();
  let keyring: Keyring | undefined;
  let now = start;
  while (now <= start + horizonOf(policy)) {
    const decision = decide(policy, keyring, now, lives.size);
    if (!('keyring' in decision)) throw new Error(`the planner says ${decision.action}`);
    if (decision.action === 'keep') {
      now = decision.wakeAt;
      continue;
    }
    keyring = decision.keyring;
    for (const key of keyring.keys) lives.set(key.kid, lived(lives.get(key.kid), key, policy, now - start));
    for (const life of lives.values()) {
      if (keyring.removedKeyIDs.includes(life.name)) life.removedAt ??= now - start;
    }
    if (!activeKey(keyring, now)) throw new Error('no key signs');
  }
  return [...lives.values()];
}

function lived(before: Life | undefined, key: KeyringKey, policy: KeyPolicy, now: number): Life {
  return {
    ...before,
    name: key.kid,
    createdAt: key.createdAt - start,
    ripeAt: ripeAt(key, policy) - start,
    ...(key.activateAt !== undefined && {
      committedAt: before?.committedAt ?? now,
      activateAt: key.activateAt - start,
    }),
    ...(key.signUntil !== undefined && { signUntil: key.signUntil - start }),
    ...(key.removeAt !== undefined && { retiredAt: before?.retiredAt ?? now }),
  };
}

const horizonOf = (policy: KeyPolicy): number => 2 * policy.intervalMs + 1.4 * policy.graceMs;

// Drawing.

const width = 1000;
const left = 104;
const right = 976;
const colours = {
  Next: { fill: '#cfe3f5', text: '#12395b' },
  Active: { fill: '#1f7a4d', text: '#ffffff' },
  Retired: { fill: '#d9d9d9', text: '#333333' },
  Both: { fill: 'url(#either)', text: '#12395b' },
  Plain: { fill: '#f3ead2', text: '#4a3b10' },
} as const;

type Style = keyof typeof colours;

type Scale = (instant: number) => number;

const scaleOf =
  (from: number, to: number): Scale =>
  (instant) =>
    left + (Math.min(Math.max(instant, from), to) - from) * ((right - left) / (to - from));

const round = (value: number): number => Math.round(value * 10) / 10;

interface TextOptions {
  size?: number;
  anchor?: 'start' | 'middle' | 'end';
  colour?: string;
  bold?: boolean;
}

function text(x: number, y: number, content: string, options: TextOptions = {}): string {
  const { size = 13, anchor = 'start', colour = '#222222', bold = false } = options;
  const weight = bold ? ' font-weight="bold"' : '';
  const at = `x="${round(x)}" y="${round(y)}"`;
  return `<text ${at} font-size="${size}" text-anchor="${anchor}" fill="${colour}"${weight}>${content}</text>`;
}

const roughWidth = (content: string, size: number): number => content.length * size * 0.6;

const barHeight = 24;

function bar(from: number, to: number, y: number, style: Style, label: string): string {
  const { fill, text: colour } = colours[style];
  const at = `x="${round(from)}" y="${round(y)}"`;
  const box = `<rect ${at} width="${round(to - from)}" height="${barHeight}" fill="${fill}"/>`;
  if (roughWidth(label, 13) > to - from) throw new Error(`"${label}" does not fit its bar`);
  return box + text(from + 8, y + barHeight / 2 + 4.5, label, { colour });
}

const line = (x1: number, y1: number, x2: number, y2: number, colour = '#555555', more = ''): string =>
  `<line x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}" stroke="${colour}"${more}/>`;

function moment(x: number, top: number, bottom: number, label: string, anchor: 'start' | 'middle' | 'end') {
  const shift = { start: 5, middle: 0, end: -5 }[anchor];
  return (
    line(x, top - 8, x, bottom, '#b3261e', ' stroke-dasharray="4 3"') +
    text(x + shift, top - 12, label, { anchor, colour: '#b3261e' })
  );
}

/** A measure between two instants: an arrow, and under it what it is and how long. */
function measure(from: number, to: number, y: number, name: string, length: string): string {
  const arrow = line(from + 1, y, to - 1, y, '#555555', ' marker-start="url(#tip)" marker-end="url(#tip)"');
  const middle = (from + to) / 2;
  return (
    arrow +
    text(middle, y + 17, name, { anchor: 'middle', size: 12 }) +
    text(middle, y + 32, length, { anchor: 'middle', size: 12, colour: '#555555' })
  );
}

const ticks = (from: number, to: number): string => line(from, to - 5, from, to + 5);

const badge = (x: number, y: number, digit: number): string =>
  `<circle cx="${round(x)}" cy="${round(y)}" r="10" fill="#b3261e"/>` +
  text(x, y + 4.5, String(digit), { anchor: 'middle', colour: '#ffffff', bold: true });

const heading = (y: number, digit: number, content: string): string =>
  badge(24, y - 5, digit) + text(44, y, content, { size: 15, bold: true });

const rowLabel = (y: number, content: string): string =>
  text(left - 10, y + 16.5, content, { anchor: 'end' });

/** A duration for people, in its two largest units. */
function spoken(ms: number): string {
  const parts = [
    [Math.floor(ms / day), 'd'],
    [Math.floor((ms % day) / hour), 'h'],
    [Math.floor((ms % hour) / minute), 'min'],
    [Math.round((ms % minute) / second), 's'],
  ] as const;
  const said = parts.filter(([amount]) => amount > 0).map(([amount, unit]) => `${amount} ${unit}`);
  return said.slice(0, 2).join(' ') || '0 s';
}

type Whole = Required<Life>;

function overview(lives: readonly Life[], policy: KeyPolicy, first: Whole, second: Whole, y: number): string {
  const end = horizonOf(policy);
  const scale = scaleOf(0, end);
  const top = y + 74;
  const pitch = 31;
  const bottom = top + drawnKeys * pitch;
  const rows = lives.slice(0, drawnKeys).map((life, index) => {
    const rowY = top + index * pitch;
    const activeFrom = life.activateAt ?? end;
    // Sidecars switch at `activateAt` of the next key; the private part leaves a moment later.
    const activeTo = lives.find(({ activateAt = 0 }) => activateAt > activeFrom)?.activateAt ?? end;
    const goneAt = life.removedAt ?? end;
    return [
      rowLabel(rowY, `key ${life.name}`),
      activeFrom > life.createdAt &&
        bar(scale(life.createdAt), scale(Math.min(activeFrom, end)), rowY, 'Next', 'Next'),
      activeFrom < end && bar(scale(activeFrom), scale(activeTo), rowY, 'Active', 'Active: signs'),
      activeTo < end && bar(scale(activeTo), scale(goneAt), rowY, 'Retired', 'Retired'),
    ];
  });
  const step = [1, 2, 5, 10, 20, 50, 100, 200].find((days) => end / day / days <= 9) ?? 500;
  const days = Array.from({ length: Math.floor(end / day / step) + 1 }, (_, index) => index * step);
  const axis = days.map(
    (at) =>
      line(scale(at * day), bottom, scale(at * day), bottom + 6) +
      text(scale(at * day), bottom + 22, at === 0 ? 'day 0' : String(at), { anchor: 'middle', size: 12 }),
  );
  const marks = [
    [first.createdAt, 1],
    [second.activateAt, 2],
    [first.removedAt, 3],
  ] as const;
  return [
    text(24, y, 'The first keys of an issuer with the default settings', { size: 17, bold: true }),
    text(
      24,
      y + 21,
      `interval ${spoken(policy.intervalMs)}, grace ${spoken(policy.graceMs)}. Every bar is a key in the JWKS; two unused ones are always there.`,
    ),
    marks.map(
      ([at, digit]) =>
        line(scale(at), top - 12, scale(at), bottom, '#b3261e', ' stroke-dasharray="4 3"') +
        badge(scale(at), top - 22, digit),
    ),
    rows,
    line(left, bottom, right, bottom),
    axis,
  ]
    .flat(3)
    .filter(Boolean)
    .join('\n');
}

function ripening(policy: KeyPolicy, life: Life, y: number): string {
  const { verifierCacheTTLMs, maxAgeMs, clockSkewMs } = policy;
  const length = life.ripeAt - life.createdAt;
  const scale = scaleOf(life.createdAt - 0.12 * length, life.createdAt + 1.35 * length);
  const top = y + 42;
  const served = scale(life.createdAt);
  const cached = scale(life.createdAt + verifierCacheTTLMs);
  const aged = scale(life.createdAt + verifierCacheTTLMs + maxAgeMs);
  const ripe = scale(life.ripeAt);
  return [
    heading(y, 1, 'A new spare: when every verifier is sure to know it'),
    rowLabel(top, 'JWKS'),
    bar(served, right, top, 'Next', 'every ready server pod serves the new key'),
    rowLabel(top + 30, 'verifiers'),
    bar(served, ripe, top + 30, 'Plain', 'one or the other may still go by the JWKS without it'),
    moment(served, top, top + 62, 'seen at every server pod', 'start'),
    moment(ripe, top, top + 62, `ripe, ${spoken(length)} later: may be committed`, 'middle'),
    ticks(served, top + 68),
    measure(served, cached, top + 68, 'verifierCacheTTL', spoken(verifierCacheTTLMs)),
    measure(cached, aged, top + 68, 'max-age', spoken(maxAgeMs)),
    measure(aged, ripe, top + 68, 'clockSkew', spoken(clockSkewMs)),
  ].join('\n');
}

function theSwitch(policy: KeyPolicy, old: Whole, next: Whole, y: number): string {
  const { propagationMs, clockSkewMs } = policy;
  const length = old.retiredAt - next.committedAt;
  const scale = scaleOf(next.committedAt - 0.25 * length, old.retiredAt + 0.35 * length);
  const top = y + 42;
  const commit = scale(next.committedAt);
  const arrived = scale(next.committedAt + propagationMs);
  const active = scale(next.activateAt);
  const retired = scale(old.retiredAt);
  return [
    heading(
      y,
      2,
      `The switch from ${old.name} to ${next.name}, ${spoken(policy.intervalMs)} after ${old.name} began to sign`,
    ),
    rowLabel(top, 'agent files'),
    bar(left, commit, top, 'Active', old.name),
    bar(commit, retired, top, 'Both', `${old.name} and ${next.name}, with their times`),
    bar(retired, right, top, 'Active', next.name),
    rowLabel(top + 30, 'sidecars'),
    bar(left, arrived, top + 30, 'Active', `sign with ${old.name}`),
    bar(arrived, active, top + 30, 'Both', `${old.name}, some ${next.name}`),
    bar(active, retired, top + 30, 'Both', `${next.name}, some ${old.name}`),
    bar(retired, right, top + 30, 'Active', `sign with ${next.name}`),
    moment(commit, top, top + 62, 'due: commit', 'middle'),
    moment(active, top, top + 62, `activateAt of ${next.name}`, 'middle'),
    moment(retired, top, top + 62, `retirement of ${old.name}`, 'middle'),
    ticks(arrived, top + 68),
    measure(commit, arrived, top + 68, 'propagation', spoken(propagationMs)),
    measure(arrived, active, top + 68, 'clockSkew', spoken(clockSkewMs)),
    measure(active, retired, top + 68, 'clockSkew', spoken(clockSkewMs)),
  ].join('\n');
}

function theEnd(policy: KeyPolicy, life: Whole, y: number): string {
  const { maxTTLMs, clockSkewMs } = policy;
  const length = life.removedAt - life.signUntil;
  const scale = scaleOf(life.signUntil - 0.3 * length, life.removedAt + 0.4 * length);
  const top = y + 42;
  const until = scale(life.signUntil);
  const expired = scale(life.signUntil + maxTTLMs);
  const removed = scale(life.removedAt);
  return [
    heading(
      y,
      3,
      `The end of ${life.name}, ${spoken(policy.intervalMs + policy.graceMs)} after it began to sign`,
    ),
    rowLabel(top, 'frozen pod'),
    bar(left, until, top, 'Active', `still signs with ${life.name}`),
    bar(until, right, top, 'Plain', 'answers 503 to every mint, until its files follow'),
    rowLabel(top + 30, 'JWKS'),
    bar(left, until, top + 30, 'Retired', `${life.name} is published`),
    bar(until, removed, top + 30, 'Retired', `${life.name} is published still: a token of it may be alive`),
    moment(until, top, top + 62, `signUntil of ${life.name}`, 'middle'),
    moment(removed, top, top + 62, `removal, ${spoken(length)} later`, 'middle'),
    measure(until, expired, top + 68, 'ttl.max', spoken(maxTTLMs)),
    line(expired, top + 62, expired, top + 74),
    line(removed, top + 62, removed, top + 74),
    text(removed + 8, top + 72, `+ verifiers’ leeway ${spoken(verifierLeewayMs)}`, { size: 12 }),
    text(removed + 8, top + 88, `+ clockSkew ${spoken(clockSkewMs)}`, { size: 12 }),
  ].join('\n');
}

function draw(): string {
  const policy = defaultPolicy();
  const lives = livesOf(policy);
  const [first, next, spare] = lives as [Whole, Whole, Life];
  const parts = [
    overview(lives, policy, first, next, 34),
    ripening(policy, spare, 338),
    theSwitch(policy, first, next, 516),
    theEnd(policy, first, 694),
  ];
  const height = 842;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-labelledby="title desc" font-family="Helvetica, Arial, 'Liberation Sans', sans-serif">
<title id="title">Rotation of signing keys with the default settings</title>
<desc id="desc">Keys are published unused, become active in turn every ${spoken(policy.intervalMs)}, and stay in the JWK Set as retired keys until no token of them can be alive. Three details show ripening, switch and removal.</desc>
<defs>
<pattern id="either" width="10" height="10" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="10" height="10" fill="#d5ecdf"/><rect width="4" height="10" fill="#bfe0cd"/></pattern>
<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse"><path d="M0 1 L8 4 L0 7 z" fill="#555555"/></marker>
</defs>
<rect width="${width}" height="${height}" fill="#ffffff"/>
${parts.join('\n')}
</svg>
`;
}

const drawing = draw();
if (process.argv.includes('--check')) {
  if (readFileSync(drawingPath, 'utf8') !== drawing) {
    process.stderr.write('docs/rotation-timeline.svg does not match the planner: run `npm run generate`\n');
    process.exit(1);
  }
} else {
  writeFileSync(drawingPath, drawing);
}
