import { describe, expect, test } from '@jest/globals';
import { createMetrics } from '../../../operator/metrics.ts';
import type { Condition } from '../../../operator/status/conditions.ts';
import { statusOf } from '../../../operator/status/status.ts';
import { issuerOf, keyringOf, t0 } from './builders.ts';

const key = { namespace: 'team', name: 'demo' };
const judgement = { type: 'Published', reason: 'ServersBehind', message: 'm' } as const;

describe('metrics', () => {
  test('tell of an issuer what its status tells', async () => {
    const metrics = createMetrics(() => 4);
    metrics.observeIssuer(key, statusOf(issuerOf(), keyringOf(), [judgement], t0));
    const text = await metrics.registry.metrics();
    expect(text).toContain('macp_auth_issuer_condition{namespace="team",name="demo",type="Published"} 0');
    expect(text).toContain(
      `macp_auth_issuer_sign_until_timestamp_seconds{namespace="team",name="demo"} ${t0 / 1000 + 37 * 86_400}`,
    );
    expect(text).toContain(
      `macp_auth_issuer_active_key_timestamp_seconds{namespace="team",name="demo"} ${t0 / 1000}`,
    );
    expect(text).toContain(
      `macp_auth_issuer_next_rotation_timestamp_seconds{namespace="team",name="demo"} ${t0 / 1000 + 30 * 86_400}`,
    );
    expect(text).toContain('macp_auth_operator_queue_depth 4');
  });

  test('tell at each scrape whether this operator works', async () => {
    expect(await createMetrics(() => 0).registry.metrics()).toContain('macp_auth_operator_leader 1');
    let leads = false;
    const { registry } = createMetrics(
      () => 0,
      () => leads,
    );
    expect(await registry.metrics()).toContain('macp_auth_operator_leader 0');
    leads = true;
    expect(await registry.metrics()).toContain('macp_auth_operator_leader 1');
  });

  const onTime = (status: string, reason: string) => [
    { type: 'RotationOnTime', status, reason, message: 'm', lastTransitionTime: 'now' } as Condition,
  ];

  test('count each time that a rotation comes to be held up, by its reason', async () => {
    const metrics = createMetrics(() => 0);
    const history = [
      onTime('True', 'NotDue'),
      onTime('False', 'WaitingForServers'),
      onTime('False', 'WaitingForServers'),
      onTime('False', 'ClocksDiffer'),
      onTime('True', 'SwitchCommitted'),
      onTime('False', 'WaitingForServers'),
    ];
    history.forEach((after, index) => {
      metrics.observeTransition(key, history[index - 1] ?? [], after);
    });
    const text = await metrics.registry.metrics();
    const counted = (reason: string) =>
      new RegExp(`rotation_failures_total\\{.*reason="${reason}"\\} (\\d+)`).exec(text)?.[1];
    expect(['WaitingForServers', 'ClocksDiffer', 'NotDue'].map(counted)).toEqual(['2', '1', undefined]);
  });

  test('tell of no rotation that no longer comes by itself', async () => {
    const metrics = createMetrics(() => 0);
    const status = statusOf(issuerOf(), keyringOf(), [judgement], t0);
    const { nextRotationTime: _, ...importing } = status;
    metrics.observeIssuer(key, status);
    metrics.observeIssuer(key, importing);
    expect(await metrics.registry.metrics()).not.toContain('next_rotation_timestamp_seconds{');
  });

  test('tell of no condition that an issuer no longer has', async () => {
    const metrics = createMetrics(() => 0);
    const tls = { type: 'TLSReady', reason: 'SecretMissing', message: 'm' } as const;
    metrics.observeIssuer(key, statusOf(issuerOf(), keyringOf(), [judgement, tls], t0));
    expect(await metrics.registry.metrics()).toContain('name="demo",type="TLSReady"} 0');
    metrics.observeIssuer(key, statusOf(issuerOf(), keyringOf(), [judgement], t0));
    const text = await metrics.registry.metrics();
    expect(text).not.toContain('TLSReady');
    expect(text).toContain('name="demo",type="Published"} 0');
  });

  test('tell when a certificate expires, for as long as there is one', async () => {
    const metrics = createMetrics(() => 0);
    metrics.observeCertificate(key, t0);
    const series = 'macp_auth_issuer_certificate_not_after_timestamp_seconds{namespace="team",name="demo"}';
    expect(await metrics.registry.metrics()).toContain(`${series} ${t0 / 1000}`);
    metrics.observeCertificate(key, undefined);
    expect(await metrics.registry.metrics()).not.toContain(series);
  });

  test('forget an issuer that is gone, and no other', async () => {
    const metrics = createMetrics(() => 0);
    for (const name of ['demo', 'other']) {
      metrics.observeTransition({ ...key, name }, [], onTime('False', 'ClocksDiffer'));
      metrics.observeIssuer({ ...key, name }, statusOf(issuerOf(), keyringOf(), [judgement], t0));
    }
    metrics.forgetIssuer(key);
    const text = await metrics.registry.metrics();
    expect(text).toContain('name="other"');
    expect(text).not.toContain('name="demo"');
  });
});
