// Ids of the protocol: all are UUIDs in text form, compared and made here.

/**
 * orderKey gives a string that sorts, as text, like message ids do: the 60-bit time from its high bits down, then the
 * low eight bytes as signed bytes. It is what IndexedDB and every list sort by.
 */
export function orderKey(messageId: string): string {
  const hex = messageId.replaceAll('-', '').toLowerCase();
  const time = hex.slice(13, 16) + hex.slice(8, 12) + hex.slice(0, 8);
  let low = '';
  for (let i = 16; i < 32; i += 2) {
    // Flipping the sign bit makes signed bytes sort as unsigned ones.
    low += (parseInt(hex.slice(i, i + 2), 16) ^ 0x80).toString(16).padStart(2, '0');
  }
  return time + low;
}

/** compareIds orders message ids as people see messages: negative, 0 or positive. */
export function compareIds(a: string, b: string): number {
  const [x, y] = [orderKey(a), orderKey(b)];
  return x < y ? -1 : x > y ? 1 : 0;
}

/** laterId gives the later of two message ids; a missing one is earlier than any. */
export function laterId(a: string | undefined, b: string | undefined): string | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return compareIds(a, b) >= 0 ? a : b;
}

/** atOrBefore tells whether a mark ("everything up to mark") covers id. */
export function atOrBefore(id: string, mark: string | undefined): boolean {
  return mark !== undefined && compareIds(id, mark) <= 0;
}

/** randomUUID makes a version 4 UUID; crypto.randomUUID exists only on secure origins. */
export function randomUUID(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return format(bytes);
}

/**
 * directConversation gives the id of the one conversation between two users: the UUIDv5 (nil namespace) of their ids,
 * sorted and joined by ":". Both sides compute the same, so a chat can be shown before the first message is sent.
 */
export function directConversation(a: string, b: string): string {
  const name = [a.toLowerCase(), b.toLowerCase()].sort().join(':');
  const bytes = new Uint8Array(16 + name.length);
  bytes.set(new TextEncoder().encode(name), 16);
  const hash = sha1(bytes).slice(0, 16);
  hash[6] = (hash[6]! & 0x0f) | 0x50;
  hash[8] = (hash[8]! & 0x3f) | 0x80;
  return format(hash);
}

function format(bytes: Uint8Array): string {
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** sha1 as FIPS 180-4 has it. crypto.subtle is asynchronous and exists only on secure origins. */
function sha1(message: Uint8Array): Uint8Array {
  const padded = new Uint8Array(((message.length + 8) >> 6) * 64 + 64);
  padded.set(message);
  padded[message.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setUint32(padded.length - 4, message.length * 8);
  const state = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0];
  const words = new Array<number>(80);
  for (let block = 0; block < padded.length; block += 64) {
    for (let i = 0; i < 16; i++) words[i] = view.getUint32(block + i * 4);
    for (let i = 16; i < 80; i++) {
      words[i] = rotate(words[i - 3]! ^ words[i - 8]! ^ words[i - 14]! ^ words[i - 16]!, 1);
    }
    sha1Block(state, words);
  }
  const out = new DataView(new ArrayBuffer(20));
  state.forEach((word, i) => out.setUint32(i * 4, word));
  return new Uint8Array(out.buffer);
}

function sha1Block(state: number[], words: number[]): void {
  let [a, b, c, d, e] = state as [number, number, number, number, number];
  for (let i = 0; i < 80; i++) {
    let mix: number;
    if (i < 20) mix = ((b & c) | (~b & d)) + 0x5a827999;
    else if (i < 40) mix = (b ^ c ^ d) + 0x6ed9eba1;
    else if (i < 60) mix = ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc;
    else mix = (b ^ c ^ d) + 0xca62c1d6;
    const next = (rotate(a, 5) + mix + e + words[i]!) >>> 0;
    [e, d, c, b, a] = [d, c, rotate(b, 30), a, next];
  }
  [a, b, c, d, e].forEach((value, i) => (state[i] = (state[i]! + value) >>> 0));
}

function rotate(value: number, bits: number): number {
  return ((value << bits) | (value >>> (32 - bits))) >>> 0;
}
