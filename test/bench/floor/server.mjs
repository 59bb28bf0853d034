// The floor: the least that any Node.js program has to do for a token. No validation, no routes, no log, no errors;
// bare HTTP, JSON.parse and crypto.sign, whose faster way is the asynchronous one where there is a second core.
import { createPrivateKey, sign } from 'node:crypto';
import { createServer } from 'node:http';

const {
  PORT = '3200',
  MACP_AUTH_BIND_ADDRESS: host,
  MACP_AUTH_SIGNING_KEY_JSON: keyJSON,
  MACP_AUTH_SIGNING_ALG: alg,
  FLOOR_SIGN,
} = process.env;

const jwk = JSON.parse(keyJSON);
const privateKey = createPrivateKey({ format: 'jwk', key: jwk });
const key = alg === 'ES256' ? { key: privateKey, dsaEncoding: 'ieee-p1363' } : privateKey;
const base64url = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const header = base64url({ alg, kid: jwk.kid });

createServer((request, response) => {
  let text = '';
  request.on('data', (chunk) => {
    text += chunk;
  });
  request.on('end', () => {
    if (request.method === 'GET') {
      response.end('{"ok":true}');
      return;
    }
    const { sender, scopes = {}, ttl_seconds: ttl } = JSON.parse(text);
    const iat = Math.floor(Date.now() / 1000);
    const claims = {
      macp_scopes: scopes,
      sub: sender,
      iss: 'macp-auth-service',
      aud: 'macp-runtime',
      iat,
      exp: iat + ttl,
    };
    const input = `${header}.${base64url(claims)}`;
    const answer = (signature) => {
      const body = JSON.stringify({
        token: `${input}.${signature.toString('base64url')}`,
        sender,
        expires_in_seconds: ttl,
      });
      response.setHeader('Content-Type', 'application/json; charset=utf-8');
      response.setHeader('Content-Length', Buffer.byteLength(body));
      response.end(body);
    };
    if (FLOOR_SIGN === 'sync') answer(sign('sha256', Buffer.from(input), key));
    else sign('sha256', Buffer.from(input), key, (_error, signature) => answer(signature));
  });
}).listen(Number(PORT), host);
