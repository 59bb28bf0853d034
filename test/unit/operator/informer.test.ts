import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { type InformerOptions, startInformer } from '../../../operator/cluster/informer.ts';
import { type KubeObject, resources } from '../../../operator/cluster/resources.ts';
import { FakeApiServer, failure, type OpenWatch } from './api-server.ts';
import { objectNamed, until } from './builders.ts';

const collection = '/api/v1/namespaces/team/configmaps';

let api: FakeApiServer;
beforeEach(async () => {
  api = await FakeApiServer.start();
});
afterEach(() => api.stop());

/** Starts an informer; `told` is what it told of, as `name@resourceVersion`. */
function start(options: Partial<InformerOptions> = {}) {
  const told: string[] = [];
  const lines: string[] = [];
  const informer = startInformer({
    client: api.client(),
    resource: resources.configMaps,
    namespace: 'team',
    onChange: ({ metadata }) => told.push(`${metadata.name}@${metadata.resourceVersion}`),
    log: pino({ level: 'debug' }, { write: (line) => void lines.push(line) }),
    signal: api.following.signal,
    ...options,
  });
  return {
    informer,
    told,
    lines,
    names: () =>
      informer
        .list()
        .map(({ metadata }) => metadata.name)
        .toSorted(),
  };
}

const put = (name: string, more: Partial<KubeObject['metadata']> = {}) =>
  api.put(`${collection}/${name}`, objectNamed(name, more));
const at = (name: string, version: string | number, more: Partial<KubeObject['metadata']> = {}) =>
  objectNamed(name, { uid: `uid-${name}`, resourceVersion: String(version), ...more });
const lists = () => api.seen.filter(({ query }) => query.get('watch') !== 'true');
async function watchNumber(count: number): Promise<OpenWatch> {
  await until(() => api.watches.length >= count, `watch number ${count}`);
  return api.watches[count - 1] as OpenWatch;
}

describe('an informer', () => {
  test('takes the null that a list of metadata has in place of no items for what it is', async () => {
    api.intercept = ({ query }) =>
      query.get('watch') === 'true'
        ? undefined
        : { code: 200, body: { metadata: { resourceVersion: '7' }, items: null } };
    const { informer, lines, names } = start({ metadataOnly: true });
    const watch = await watchNumber(1);
    expect(watch.query.get('resourceVersion')).toBe('7');
    expect(informer.synced()).toBe(true);
    expect(names()).toEqual([]);
    expect(lines).toEqual([]);
  });

  test('lists, then watches from the version of the list', async () => {
    put('a');
    put('b');
    const { informer, names } = start();
    expect(informer.synced()).toBe(false);
    const watch = await watchNumber(1);
    expect(informer.synced()).toBe(true);
    expect(names()).toEqual(['a', 'b']);
    expect(watch.query.get('resourceVersion')).toBe(api.version);
    expect(watch.query.get('allowWatchBookmarks')).toBe('true');
    expect(Number(watch.query.get('timeoutSeconds'))).toBeGreaterThanOrEqual(120);
    expect(Number(watch.query.get('timeoutSeconds'))).toBeLessThanOrEqual(150);
  });

  test('gives objects their kind, which lists leave out, and drops managedFields', async () => {
    put('a', { managedFields: [{ manager: 'x' }] });
    const { informer } = start();
    const watch = await watchNumber(1);
    watch.send('ADDED', at('b', 200, { managedFields: [{ manager: 'x' }] }));
    await until(() => informer.get('team', 'b') !== undefined);
    for (const name of ['a', 'b']) {
      expect(informer.get('team', name)).toMatchObject({ apiVersion: 'v1', kind: 'ConfigMap' });
      expect(informer.get('team', name)?.metadata).not.toHaveProperty('managedFields');
    }
  });

  test('selects by label, in the list and in the watch', async () => {
    put('a', { labels: { mine: 'yes' } });
    put('b');
    const { names } = start({ labelSelector: 'mine=yes' });
    const watch = await watchNumber(1);
    expect(names()).toEqual(['a']);
    expect(watch.query.get('labelSelector')).toBe('mine=yes');
  });

  test('lists page by page', async () => {
    const count = 501;
    for (let i = 0; i < count; i += 1) put(`object-${i}`);
    const { informer, told } = start();
    await until(informer.synced);
    expect(informer.list()).toHaveLength(count);
    expect(new Set(told).size).toBe(count);
    expect(lists().map(({ query }) => query.get('continue'))).toEqual([null, '250', '500']);
    expect((await watchNumber(1)).query.get('resourceVersion')).toBe(api.version);
  });

  test('begins the list anew when a page of it is gone', async () => {
    for (let i = 0; i < 251; i += 1) put(`object-${i}`);
    let refused = 0;
    api.intercept = ({ query }) =>
      query.get('continue') && refused++ === 0 ? failure(410, 'Expired') : undefined;
    const { informer } = start();
    await until(informer.synced);
    expect(informer.list()).toHaveLength(251);
    expect(lists().map(({ query }) => query.get('continue'))).toEqual([null, '250', null, '250']);
  });

  test('keeps of each object what it is told to, in the list and from the watch', async () => {
    api.put(`${collection}/a`, { ...objectNamed('a'), data: { large: 'x' } });
    const { informer } = start({ keep: ({ data: _, ...object }) => object as KubeObject });
    const watch = await watchNumber(1);
    watch.send('ADDED', { ...at('b', 200), data: { large: 'x' } });
    // A bookmark has neither name nor data.
    watch.send('BOOKMARK', { kind: 'ConfigMap', metadata: { resourceVersion: '201' } });
    await until(() => informer.get('team', 'b') !== undefined);
    for (const name of ['a', 'b']) expect(informer.get('team', name)).not.toHaveProperty('data');
    expect(informer.list()).toHaveLength(2);
  });

  test('gives the objects of a group, in the order in which they came', async () => {
    const colour = (value: string) => ({ labels: { colour: value } });
    put('a', colour('red'));
    put('b', colour('blue'));
    put('c', colour('red'));
    put('d');
    const { informer } = start({ groupOf: ({ metadata }) => metadata.labels?.colour });
    const group = (name: string) => informer.group(name).map(({ metadata }) => metadata.name);
    const watch = await watchNumber(1);
    expect([group('red'), group('blue'), group('green')]).toEqual([['a', 'c'], ['b'], []]);
    watch.send('MODIFIED', at('a', 201, { labels: { colour: 'red', more: 'yes' } }));
    watch.send('MODIFIED', at('b', 202, colour('green')));
    watch.send('ADDED', at('e', 203, colour('red')));
    watch.send('DELETED', at('c', 204, colour('red')));
    await until(() => group('red').length === 2 && group('red').includes('e'));
    expect([group('red'), group('blue'), group('green')]).toEqual([['a', 'e'], [], ['b']]);
    expect(informer.group('red')[0]?.metadata.labels).toMatchObject({ more: 'yes' });
  });

  test('follows what comes, changes and goes, and tells of each once', async () => {
    const { informer, told, names } = start();
    const watch = await watchNumber(1);
    watch.send('ADDED', at('a', 201));
    watch.send('ADDED', at('b', 202));
    watch.send('MODIFIED', at('a', 203, { labels: { v: '2' } }));
    watch.send('DELETED', at('b', 204));
    await until(() => told.length === 4);
    expect(told).toEqual(['a@201', 'b@202', 'a@203', 'b@204']);
    expect(names()).toEqual(['a']);
    expect(informer.get('team', 'a')?.metadata.labels).toEqual({ v: '2' });
    expect(informer.get('team', 'b')).toBeUndefined();
    expect(informer.get('other', 'a')).toBeUndefined();
  });

  test('goes on from the last version when a watch ends in good order, without another list', async () => {
    const { told } = start();
    const first = await watchNumber(1);
    first.send('ADDED', at('a', 201));
    first.send('BOOKMARK', at('', 250));
    await until(() => told.length === 1);
    first.end();
    const second = await watchNumber(2);
    expect(second.query.get('resourceVersion')).toBe('250');
    expect(lists()).toHaveLength(1);
    expect(told).toEqual(['a@201']);
  });

  test('takes a watch that is silent until its end for alive, and goes on from where it was', async () => {
    put('a');
    const { informer, told, lines } = start({ watchSeconds: 1, watchGraceMs: 5_000 });
    for (const number of [1, 2]) {
      const watch = await watchNumber(number);
      expect(watch.query.get('timeoutSeconds')).toBe('1');
      expect(watch.query.get('resourceVersion')).toBe(api.version);
      await sleep(1_100);
      watch.end();
    }
    (await watchNumber(3)).send('ADDED', at('b', 201));
    await until(() => informer.get('team', 'b') !== undefined);
    expect(told).toHaveLength(2);
    expect(lists()).toHaveLength(1);
    expect(lines).toEqual([]);
  });

  test.each([
    ['says nothing and does not end', false],
    ['is not even answered', true],
  ])('takes a watch that %s for dead when its time is long over, and lists anew', async (_, hangs) => {
    put('a');
    let watches = 0;
    api.intercept = ({ query }) =>
      query.get('watch') === 'true' && watches++ === 0 && hangs ? 'hang' : undefined;
    const { informer, lines, names } = start({ watchSeconds: 1, watchGraceMs: 200 });
    await until(informer.synced);
    put('b');
    await until(() => watches === 2, 'a second watch');
    expect(lists()).toHaveLength(2);
    expect(names()).toEqual(['a', 'b']);
    expect(lines.map((line) => JSON.parse(line).reason)).toEqual(['it took longer than 1.2 s']);
  });

  const breaks: [string, (watch: OpenWatch) => void][] = [
    ['a connection that breaks', (watch) => watch.cut()],
    [
      'a connection that breaks in the middle of an event',
      (watch) => {
        watch.sendText('{"type":"ADDED","obj');
        watch.cut();
      },
    ],
  ];
  const fatal: [string, (watch: OpenWatch) => void][] = [
    ['a 410 event', (watch) => watch.send('ERROR', failure(410, 'Expired').body)],
    ['another error event', (watch) => watch.send('ERROR', failure(500, 'InternalError').body)],
    ['a line that is no JSON', (watch) => watch.sendText('no JSON\n')],
  ];
  async function listsAnew(_: string, broken: (watch: OpenWatch) => void): Promise<void> {
    put('stays');
    put('changes');
    put('goes');
    put('is replaced', { uid: 'first' });
    const { informer, told, names } = start();
    const watch = await watchNumber(1);
    expect(told).toHaveLength(4);
    told.length = 0;
    const gone = api.objects.get(`${collection}/goes`)?.metadata.resourceVersion;
    api.objects.delete(`${collection}/goes`);
    const changed = put('changes').metadata.resourceVersion;
    const come = put('comes').metadata.resourceVersion;
    const replaced = put('is replaced', { uid: 'second' }).metadata.resourceVersion;
    broken(watch);
    await watchNumber(2);
    expect(names()).toEqual(['changes', 'comes', 'is replaced', 'stays']);
    expect(told.toSorted()).toEqual(
      [`changes@${changed}`, `comes@${come}`, `goes@${gone}`, `is replaced@${replaced}`].toSorted(),
    );
    expect(informer.synced()).toBe(true);
  }
  test.each(breaks)('lists anew after %s, and finds what came, changed and went meanwhile', listsAnew);
  test.each(fatal)('lists anew after %s, and finds what came, changed and went meanwhile', listsAnew);

  test('lists anew when the watch is refused with 410, and does not complain about it', async () => {
    put('a');
    let refusals = 1;
    api.intercept = ({ query }) =>
      query.get('watch') === 'true' && refusals-- > 0 ? failure(410, 'Expired') : undefined;
    const { told, lines } = start();
    await watchNumber(1);
    expect(lists()).toHaveLength(2);
    expect(told).toHaveLength(1);
    expect(lines).toEqual([]);
  });

  test('waits and tries again while listing fails, and keeps its copy meanwhile', async () => {
    put('a');
    const { informer, names, lines } = start();
    const watch = await watchNumber(1);
    let failures = 2;
    api.intercept = () => (failures-- > 0 ? failure(500, 'InternalError', 'etcd is away') : undefined);
    put('b');
    watch.cut();
    await until(() => failures < 2);
    expect(names()).toEqual(['a']);
    expect(informer.synced()).toBe(true);
    await watchNumber(2);
    expect(names()).toEqual(['a', 'b']);
    expect(lines.some((line) => line.includes('etcd is away'))).toBe(true);
  });

  test.each([
    [403, 'the operator may not list and watch configmaps: grant it (as the chart does)'],
    [404, 'the API server does not know configmaps: apply the CRD (kubectl apply -f crds/)'],
    [500, undefined],
  ])('says how to mend it when listing is answered with %i, until it is mended', async (code, problem) => {
    let refused = true;
    api.intercept = () => (refused ? failure(code, 'Whatever') : undefined);
    const { informer, lines } = start();
    await until(() => lines.length > 0);
    expect(informer.problem()).toBe(problem);
    expect(informer.forbidden()).toBe(code === 403);
    expect(informer.synced()).toBe(false);
    refused = false;
    await watchNumber(1);
    await until(() => informer.problem() === undefined, 'no problem');
    expect(informer.synced()).toBe(true);
    expect(informer.forbidden()).toBe(false);
  });

  test('stops when it is told to, and asks no more', async () => {
    const { informer, told } = start();
    await watchNumber(1);
    api.following.abort();
    const before = api.seen.length;
    put('a');
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect(api.seen).toHaveLength(before);
    expect(told).toEqual([]);
    expect(informer.list()).toEqual([]);
  });

  test('waits longer after each watch that is refused', async () => {
    api.intercept = ({ query }) => (query.get('watch') === 'true' ? failure(403, 'Forbidden') : undefined);
    const { lines } = start();
    await until(() => lines.length === 3);
    expect(lines.map((line) => JSON.parse(line).failures)).toEqual([1, 2, 3]);
  });
});
