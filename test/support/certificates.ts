import { createPublicKey, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { isIP } from 'node:net';

/** A certificate and its private key, in PEM form. */
export interface Issued {
  certificate: string;
  key: string;
}

/** Who a certificate is for, and when; by default from an hour ago for a day. */
interface Wish {
  /** DNS names and IPv4 addresses. */
  hosts: readonly string[];
  notBefore?: Date;
  notAfter?: Date;
}

/** An authority of a test. */
export interface Authority {
  /** Its own certificate, in PEM form: who trusts it trusts what it issues. */
  certificate: string;
  issue(wish: Wish): Issued;
}

const hour = 3_600_000;

/** Makes an authority with a key of its own (ES256, X.509 as RFC 5280 has it). */
export function makeAuthority(name = 'authority of a test'): Authority {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const basics = extension('2.5.29.19', der(0x30, Buffer.from([0x01, 0x01, 0xff])), true);
  const whole = { issuer: name, signer: privateKey };
  const own = { ...whole, subject: name, key: privateKey, extensions: [basics], ...times({ hosts: [] }) };
  return {
    certificate: certificateOf(own),
    issue(wish) {
      const { privateKey: key } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const extensions = [extension('2.5.29.17', der(0x30, ...wish.hosts.map(generalName)))];
      const certificate = certificateOf({
        ...whole,
        subject: 'a server of a test',
        key,
        extensions,
        ...times(wish),
      });
      return { certificate, key: key.export({ type: 'pkcs8', format: 'pem' }) as string };
    },
  };
}

const times = ({ notBefore, notAfter }: Wish) => ({
  notBefore: notBefore ?? new Date(Date.now() - hour),
  notAfter: notAfter ?? new Date(Date.now() + 24 * hour),
});

function certificateOf(parts: {
  issuer: string;
  subject: string;
  signer: KeyObject;
  key: KeyObject;
  notBefore: Date;
  notAfter: Date;
  extensions: Buffer[];
}): string {
  const ecdsaWithSHA256 = der(0x30, oid('1.2.840.10045.4.3.2'));
  const serial = randomBytes(16);
  serial[0] = 1;
  const signed = der(
    0x30,
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, serial),
    ecdsaWithSHA256,
    nameOf(parts.issuer),
    der(0x30, time(parts.notBefore), time(parts.notAfter)),
    nameOf(parts.subject),
    createPublicKey(parts.key).export({ type: 'spki', format: 'der' }),
    der(0xa3, der(0x30, ...parts.extensions)),
  );
  const signature = sign('sha256', signed, parts.signer);
  const whole = der(0x30, signed, ecdsaWithSHA256, der(0x03, Buffer.from([0]), signature));
  const lines = whole.toString('base64').match(/.{1,64}/g) ?? [];
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n');
}

const extension = (id: string, value: Buffer, critical = false): Buffer =>
  der(0x30, oid(id), ...(critical ? [der(0x01, Buffer.from([0xff]))] : []), der(0x04, value));

const generalName = (host: string): Buffer =>
  isIP(host) === 4
    ? der(0x87, Buffer.from(host.split('.').map(Number)))
    : der(0x82, Buffer.from(host, 'ascii'));

const nameOf = (commonName: string): Buffer =>
  der(0x30, der(0x31, der(0x30, oid('2.5.4.3'), der(0x0c, Buffer.from(commonName)))));

// UTCTime, which is for the years until 2049.
const time = (at: Date): Buffer =>
  der(0x17, Buffer.from(`${at.toISOString().replace(/\D/g, '').slice(2, 14)}Z`, 'ascii'));

function oid(text: string): Buffer {
  const [first = 0, second = 0, ...others] = text.split('.').map(Number);
  const bytes = [first * 40 + second, ...others].flatMap((number) => {
    const groups = [number & 0x7f];
    for (let rest = number >>> 7; rest > 0; rest >>>= 7) groups.unshift((rest & 0x7f) | 0x80);
    return groups;
  });
  return der(0x06, Buffer.from(bytes));
}

/** One value of DER (ITU-T X.690): its tag, the length of what it holds, and that. */
function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const { length } = body;
  const size =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), body]);
}
