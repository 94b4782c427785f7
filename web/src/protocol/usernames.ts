// When two usernames are one: what the server's region-node/auth does, so that a name can be asked about by its hash.

/** Per line, the character that stands for all the others of the line. Folding comes first, so all are lower case. */
const lookAlikes = `
a α а ɑ
b β в
c ϲ с
d ԁ
e ε е ҽ
g ɡ ց
h η н һ հ
j ϳ ј
k κ к
l i 1 ι і ı ɩ ӏ ǀ
m μ м
n ո
o 0 ο о σ օ
p ρ р
q ԛ
s ѕ
t τ т
u υ ս
v ν ѵ
w ԝ ѡ
x χ х
y γ у ү
z ζ
3 з ӡ
`;

const skeletons = new Map(
  lookAlikes
    .trim()
    .split('\n')
    .flatMap((line) => {
      const twins = line.split(' ');
      return twins.map((twin) => [twin, twins[0]!] as const);
    }),
);

/** normaliseUsername gives the key under which a username is unique: NFKC, case folded, look-alikes made one. */
export function normaliseUsername(username: string): string {
  const folded = fold(fold(username.normalize('NFKC')).normalize('NFKC')).normalize('NFKC');
  const skeleton = Array.from(folded.normalize('NFD'), (character) => {
    const digit = asciiDigit(character);
    return skeletons.get(digit) ?? digit;
  });
  return skeleton.join('').normalize('NFC');
}

/** fold is full case folding: by way of capitals, so that ß becomes ss. A sigma at a word's end is a sigma too. */
function fold(text: string): string {
  return Array.from(text, (character) => character.toUpperCase().toLowerCase()).join('').replaceAll('ς', 'σ');
}

/** asciiDigit gives a digit of any script by its value. Scripts have their ten digits in a row. */
function asciiDigit(character: string): string {
  if (character <= '\x7f' || !/^\p{Nd}$/u.test(character)) return character;
  const code = character.codePointAt(0)!;
  let zero = code;
  while (/^\p{Nd}$/u.test(String.fromCodePoint(zero - 1))) zero--;
  return String((code - zero) % 10);
}

/**
 * namePrefix gives the first four hexadecimal digits of the hash of a normalised username: enough to ask where such names
 * live, too little to tell the name. Browsers hash on secure origins only; elsewhere it is undefined, and the log-in
 * tries one region after the other.
 */
export async function namePrefix(username: string): Promise<string | undefined> {
  if (!globalThis.crypto?.subtle) return undefined;
  const name = new TextEncoder().encode(normaliseUsername(username));
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', name));
  return Array.from(hash.slice(0, 2), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
