import { describe, expect, test } from '@jest/globals';
import { createMetrics } from '../../../operator/metrics.ts';
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
      `macp_auth_issuer_sign_until_timestamp_seconds{namespace="team",name="demo"} ${t0 / 1000 + 604_800}`,
    );
    expect(text).toContain(
      `macp_auth_issuer_active_key_timestamp_seconds{namespace="team",name="demo"} ${t0 / 1000}`,
    );
    expect(text).toContain('macp_auth_operator_queue_depth 4');
  });

  test('forget an issuer that is gone, and no other', async () => {
    const metrics = createMetrics(() => 0);
    for (const name of ['demo', 'other']) {
      metrics.observeIssuer({ ...key, name }, statusOf(issuerOf(), keyringOf(), [judgement], t0));
    }
    metrics.forgetIssuer(key);
    const text = await metrics.registry.metrics();
    expect(text).toContain('name="other"');
    expect(text).not.toContain('name="demo"');
  });
});
