const integerBytes = 32;

/**
 * The signature of P-256 as JWS has it, R and S of 32 bytes each (RFC 7518 section 3.4), out of the DER form that
 * OpenSSL makes: a SEQUENCE of two INTEGERs (RFC 3279 section 2.2.3), each in as few bytes as it takes. Node.js can do
 * the same (`dsaEncoding: 'ieee-p1363'`), but converts the key anew for it each time, which costs more than the
 * signature itself.
 */
export function fixedWidth(der: Buffer): Buffer {
  const fixed = Buffer.alloc(2 * integerBytes);
  // Tag and length of the sequence, which is never as long as to need a length of two bytes.
  let at = 2;
  for (const end of [integerBytes, 2 * integerBytes]) {
    const length = der.readUInt8(at + 1);
    at += 2 + length;
    // An integer whose first bit is set has a zero before it.
    const significant = Math.min(length, integerBytes);
    der.copy(fixed, end - significant, at - significant, at);
  }
  return fixed;
}
