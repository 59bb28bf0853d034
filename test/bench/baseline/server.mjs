// What a team would write instead: a minting service on express and jose with one key, in the shape of
// macp-auth-service 1.0.0. Plain JavaScript, as such a service is shipped.
import { createPublicKey } from 'node:crypto';
import express from 'express';
import { importJWK, SignJWT } from 'jose';

const {
  PORT = '3200',
  MACP_AUTH_BIND_ADDRESS: host = '0.0.0.0',
  MACP_AUTH_SIGNING_KEY_JSON: keyJSON,
  MACP_AUTH_SIGNING_ALG: alg = 'RS256',
  MACP_AUTH_ISSUER: issuer = 'macp-auth-service',
  MACP_AUTH_AUDIENCE: audience = 'macp-runtime',
} = process.env;
const maxTTLSeconds = Number(process.env.MACP_AUTH_MAX_TTL_SECONDS ?? 3600);
const defaultTTLSeconds = Number(process.env.MACP_AUTH_DEFAULT_TTL_SECONDS ?? 300);

const jwk = JSON.parse(keyJSON);
const kid = jwk.kid ?? 'key-1';
const privateKey = await importJWK(jwk, alg);
const publicJWK = createPublicKey({ format: 'jwk', key: jwk }).export({ format: 'jwk' });

const app = express();
app.use(express.json());

app.get('/healthz', (_request, response) => {
  response.json({ ok: true });
});

app.get('/.well-known/jwks.json', (_request, response) => {
  response.json({ keys: [{ ...publicJWK, kid, alg, use: 'sig' }] });
});

app.post('/tokens', async (request, response) => {
  const { sender, scopes = {}, ttl_seconds } = request.body ?? {};
  if (typeof sender !== 'string' || sender.trim() === '') {
    response.status(400).json({ error: 'sender is required' });
    return;
  }
  if (typeof scopes !== 'object' || scopes === null || Array.isArray(scopes)) {
    response.status(400).json({ error: 'scopes must be an object' });
    return;
  }
  const asked = ttl_seconds ?? defaultTTLSeconds;
  if (!(Number.isFinite(asked) && asked > 0)) {
    response.status(400).json({ error: 'ttl_seconds must be a positive number' });
    return;
  }
  const ttl = Math.min(asked, maxTTLSeconds);
  const token = await new SignJWT({ macp_scopes: scopes })
    .setProtectedHeader({ alg, kid })
    .setIssuer(issuer)
    .setAudience(audience)
    .setSubject(sender)
    .setIssuedAt()
    .setExpirationTime(`${ttl}s`)
    .sign(privateKey);
  response.json({ token, sender, expires_in_seconds: ttl });
});

app.use((_error, _request, response, _next) => {
  response.status(400).json({ error: 'invalid JSON body' });
});

app.listen(Number(PORT), host);
